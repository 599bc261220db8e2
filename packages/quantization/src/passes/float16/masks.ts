import { constantOf, type Graph, type Model, type TensorSource, type Value } from '@lithe/core';
import { halfFit } from '../../weights/half-weight.ts';
import { float32Data } from '../../weights/lazy-parts.ts';
import { movingOperators } from './operators.ts';

/**
 * What stands in float16 for a mask of -3.4e38 or minus infinity. Its exponential is 0 like theirs, and sums of three
 * masks and a score stay finite, which those of the lowest float16, -65504, would not: a row where everything is hidden,
 * which means nothing, must not become NaN.
 */
export const MASK_VALUE = -16384;

/** Largest magnitude that rounds to a finite float16. */
const LARGEST = 65520;

/** Constants beyond the range of float16, and the masks among them. */
export interface BeyondRange {
  /** Names of constants that cannot be float16. */
  readonly oversized: ReadonlySet<string>;
  /** Names of constants whose elements beyond the range hide what is behind them: see {@link MASK_VALUE}. */
  readonly masks: ReadonlySet<string>;
  /** Names of values that masks flow through on their way to `Softmax`: their lower end says nothing. */
  readonly masked: ReadonlySet<string>;
  /** Elements of all constants that are not 0 and would round to it. */
  readonly vanishing: number;
}

/** Operators that a mask may pass, by the inputs it may come in at; all inputs where none are listed. */
const carriers: Readonly<Record<string, readonly number[]>> = {
  Add: [],
  Mul: [],
  Sub: [0],
  Where: [1, 2],
  ScatterND: [0, 2],
};

/** Operators of `com.microsoft` that add a bias to scores and take their softmax. */
const attention: ReadonlySet<string> = new Set([
  'Attention',
  'DecoderMaskedMultiHeadAttention',
  'GroupQueryAttention',
  'MultiHeadAttention',
]);

/** Whether a reader passes a mask on (`carry`), ends it harmlessly (`end`), or does anything else with it. */
function readerOf(
  value: Value,
  use: { readonly node: Value['uses'][number]['node']; readonly index: number },
) {
  const { node, index } = use;
  if (node.graph !== value.graph) return 'other';
  if (node.domain !== '')
    return node.domain === 'com.microsoft' && attention.has(node.opType) ? 'end' : 'other';
  if (node.is('Softmax') || node.is('LogSoftmax')) return 'end';
  if (movingOperators.has(node.opType)) return 'carry';
  const inputs = carriers[node.opType];
  return inputs !== undefined && (inputs.length === 0 || inputs.includes(index)) ? 'carry' : 'other';
}

/** The values that a mask flows through, itself included; `undefined` when it does not end in `Softmax` everywhere. */
function pathOf(start: Value): ReadonlySet<Value> | undefined {
  const path = new Set<Value>([start]);
  for (const value of path) {
    if (value.outputOf.length > 0 || value.isUnused) return undefined;
    for (const use of value.uses) {
      const kind = readerOf(value, use);
      if (kind === 'other') return undefined;
      if (kind === 'carry') for (const output of use.node.outputs) if (output.name !== '') path.add(output);
    }
  }
  return path;
}

/** The number that a `ConstantOfShape` fills with, when it is float32. */
function fillOf(value: Value): TensorSource | undefined {
  if (value.producer?.is('ConstantOfShape') !== true) return undefined;
  const attribute = value.producer.attributes.get('value');
  return attribute?.kind === 'tensor' && attribute.value.dtype === 'float32' ? attribute.value : undefined;
}

function* floatConstants(graph: Graph): IterableIterator<readonly [Value, TensorSource]> {
  for (const value of graph.initializers) {
    const source = constantOf(value);
    if (source?.dtype === 'float32') yield [value, source];
  }
  for (const node of graph.nodes()) {
    const source = node.is('Constant') ? constantOf(node.output()) : undefined;
    if (source?.dtype === 'float32') yield [node.output(), source];
    if (node.is('ConstantOfShape')) {
      const fill = fillOf(node.output());
      if (fill !== undefined) yield [node.output(), fill];
    }
    for (const [, inner] of node.subgraphs) yield* floatConstants(inner);
  }
}

/** How the elements of a constant lie to the range of float16. */
interface Fit {
  readonly where: 'none' | 'below' | 'both';
  readonly vanishing: number;
}

function fitOf(data: Float32Array): Fit {
  const { beyond, vanishing } = halfFit(data);
  if (beyond === 0) return { where: 'none', vanishing };
  const above = data.some((value) => !(value < LARGEST));
  return { where: above ? 'both' : 'below', vanishing };
}

/** Looks at every float32 constant of a model once. */
export async function beyondRange(model: Model, signal: AbortSignal): Promise<BeyondRange> {
  const oversized = new Set<string>();
  const masks = new Set<string>();
  const masked = new Set<string>();
  let vanishing = 0;
  for (const [value, source] of floatConstants(model.graph)) {
    signal.throwIfAborted();
    const fit = fitOf(float32Data(await source.load(signal), `constant "${value.name}"`));
    vanishing += fit.vanishing;
    if (fit.where === 'none') continue;
    const path = fit.where === 'below' ? pathOf(value) : undefined;
    if (path === undefined) {
      oversized.add(value.name);
      continue;
    }
    masks.add(value.name);
    for (const one of path) masked.add(one.name);
  }
  return { oversized, masks, masked, vanishing };
}
