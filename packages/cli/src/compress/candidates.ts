import type { Model, StepList, Target, WeightFormat } from '@lithe/core';
import {
  dynamicInt8,
  float16Compute,
  float16Storage,
  foldableWeights,
  staticInt8,
  weightOnly,
} from '@lithe/quantization';

/** One way to store and compute the weights of a model, tried on the target. */
export interface Candidate {
  /** Name for reports: the format, or a variant of it. */
  readonly name: string;
  /** One sentence for reports. */
  readonly summary: string;
  /** Passes on top of the simplified model. */
  readonly steps: StepList;
  /** Whether it multiplies signed weights of 8 bits, whose sums some processors saturate. */
  readonly mayOverflow: boolean;
}

/** A format that was not tried, and why. */
export interface NotTried {
  /** The format, or a variant of it. */
  readonly name: string;
  /** Why, as a clause. */
  readonly reason: string;
}

/** What is tried, and what is not. */
export interface CandidatePlan {
  /** To be built and measured, in this order. */
  readonly candidates: readonly Candidate[];
  /** Left out, with reasons. */
  readonly notTried: readonly NotTried[];
}

interface Recipe {
  /** Name of a variant; the format's by default. */
  readonly name?: string;
  readonly summary: string;
  /** Whether only real inputs can tell if it holds: it is not tried without them. */
  readonly needsData?: boolean;
  /** Operators without which the format changes nothing. */
  readonly operators: ReadonlySet<string> | 'any';
  readonly steps: () => StepList;
  /** The same with signed weights of 7 bits, whose products fit 16 bits by twos. */
  readonly sevenBits?: { readonly summary: string; readonly steps: () => StepList };
}

/** What is known of the processors that a model is for. */
export interface Processors {
  /** Whether the result must hold on x86 processors without VNNI too, which add products in 16 bits. */
  readonly portable: boolean;
  /** Whether the one at hand adds so. */
  readonly saturates: boolean;
}

const matrices = new Set(['MatMul', 'Gemm']);
const products = new Set(['MatMul', 'Gemm', 'LSTM', 'GRU', 'RNN']);

/** How each format is made. What a format leaves in float is stored foldable, which costs no speed. */
const recipes: Readonly<Record<Exclude<WeightFormat, 'float32'>, readonly Recipe[]>> = {
  'foldable-int8': [
    {
      summary: 'int8 weights that the runtime expands at load; float speed',
      operators: 'any',
      steps: () => [foldableWeights({ bits: 8 })],
    },
    {
      name: 'foldable-int8-blocks',
      summary: 'the same with a scale for every 32 weights: a little larger, closer to the floats',
      operators: 'any',
      steps: () => [foldableWeights({ bits: 8, blockSize: 32 })],
    },
  ],
  'foldable-int4': [
    {
      summary: 'int4 weights that the runtime expands at load; float speed',
      needsData: true,
      operators: 'any',
      steps: () => [foldableWeights({ bits: 4 })],
    },
  ],
  'float16-storage': [
    {
      summary: 'float16 weights that the runtime expands at load; float speed',
      operators: 'any',
      steps: () => [float16Storage()],
    },
  ],
  float16: [{ summary: 'float16 weights and arithmetic', operators: 'any', steps: () => [float16Compute()] }],
  'dequantize-int8': [
    {
      summary: 'int8 weights behind DequantizeLinear',
      operators: matrices,
      steps: () => [weightOnly({ bits: 8, format: 'dequantize-linear' }), foldableWeights({ bits: 8 })],
    },
  ],
  'dequantize-int4': [
    {
      summary: 'int4 weights in blocks behind DequantizeLinear',
      needsData: true,
      operators: matrices,
      steps: () => [weightOnly({ bits: 4, format: 'dequantize-linear' }), foldableWeights({ bits: 8 })],
    },
  ],
  'matmul-nbits-4': [
    {
      summary: 'int4 weights in blocks, multiplied by MatMulNBits',
      needsData: true,
      operators: matrices,
      steps: () => [weightOnly({ bits: 4, format: 'matmul-nbits' }), foldableWeights({ bits: 8 })],
    },
  ],
  'matmul-nbits-8': [
    {
      summary: 'int8 weights in blocks, multiplied by MatMulNBits',
      operators: matrices,
      steps: () => [weightOnly({ bits: 8, format: 'matmul-nbits' }), foldableWeights({ bits: 8 })],
    },
  ],
  'dynamic-int8': [
    {
      summary: 'int8 matrix products, activations quantized as they come',
      operators: products,
      steps: () => [dynamicInt8(), foldableWeights({ bits: 8 })],
      sevenBits: {
        summary: 'int8 matrix products with 7 bits a weight, whose sums fit 16 bits on any processor',
        steps: () => [dynamicInt8({ reducedRange: true }), foldableWeights({ bits: 8 })],
      },
    },
  ],
  'static-int8': [
    {
      summary: 'int8 arithmetic with calibrated activations',
      needsData: true,
      operators: new Set(['Conv', 'ConvTranspose', 'MatMul', 'Gemm']),
      steps: () => [staticInt8(), foldableWeights({ bits: 8 })],
      sevenBits: {
        summary: 'int8 arithmetic with 7 bits a weight in layers whose sums would leave 16 bits',
        steps: () => [staticInt8({ reducedRange: 'auto' }), foldableWeights({ bits: 8 })],
      },
    },
  ],
};

function operatorsOf(model: Model): ReadonlySet<string> {
  const found = new Set<string>();
  for (const node of model.graph.nodesDeep()) found.add(node.opType);
  return found;
}

function refusal(recipe: Recipe, operators: ReadonlySet<string>, hasRealData: boolean): string | undefined {
  const { operators: needed, needsData = false } = recipe;
  if (needed !== 'any' && ![...needed].some((operator) => operators.has(operator))) {
    return `the model has no ${[...needed].join(', ')}`;
  }
  if (needsData && !hasRealData)
    return 'random input cannot tell whether it holds; give real inputs with --calibrate';
  return undefined;
}

/** A format in the forms that suit the processors. */
function formsOf(
  name: string,
  { summary, steps, sevenBits }: Recipe,
  { portable, saturates }: Processors,
): CandidatePlan {
  if (sevenBits === undefined)
    return { candidates: [{ name, summary, steps: steps(), mayOverflow: false }], notTried: [] };
  const narrow = { ...sevenBits, name: `${name}-7-bit`, steps: sevenBits.steps(), mayOverflow: false };
  if (portable) {
    const reason = 'x86 processors without VNNI add its products in 16 bits';
    return { candidates: [narrow], notTried: [{ name, reason }] };
  }
  const plain = { name, summary, steps: steps(), mayOverflow: true };
  return { candidates: saturates ? [plain, narrow] : [plain], notTried: [] };
}

/**
 * Lists the formats that make sense for a model and a target: those the target's profile does not rule out and
 * the model has operators for. Which of them pays is measured, not assumed.
 *
 * @param hasRealData whether calibration data was given
 */
export function planCandidates(
  model: Model,
  target: Target,
  hasRealData: boolean,
  processors: Processors,
): CandidatePlan {
  const operators = operatorsOf(model);
  const candidates: Candidate[] = [
    { name: 'simplified', summary: 'simplified graph, float weights', steps: [], mayOverflow: false },
  ];
  const notTried: NotTried[] = [];
  for (const { format, verdict, reason } of target.profile.formats) {
    if (format === 'float32') continue;
    for (const recipe of recipes[format]) {
      const name = recipe.name ?? format;
      const ruledOut = verdict === 'unsupported' || verdict === 'slow';
      const why = ruledOut ? reason : refusal(recipe, operators, hasRealData);
      const forms =
        why === undefined
          ? formsOf(name, recipe, processors)
          : { candidates: [], notTried: [{ name, reason: why }] };
      candidates.push(...forms.candidates);
      notTried.push(...forms.notTried);
    }
  }
  return { candidates, notTried };
}
