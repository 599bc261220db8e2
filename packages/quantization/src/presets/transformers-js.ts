import { errors, type Model, type StepList } from '@lithe/core';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { dynamicInt8 } from '../passes/dynamic-int8.ts';
import { float16Compute } from '../passes/float16-compute.ts';
import { foldableWeights } from '../passes/foldable-weights.ts';
import { normalFloat4 } from '../passes/normal-float4.ts';
import { tableRows } from '../passes/table-rows.ts';
import type { WeightOnlyOptions } from '../passes/weight-only/options.ts';
import { weightOnly } from '../passes/weight-only.ts';

/**
 * Names under which transformers.js asks for a dtype, in the order of its documentation. Of those it knows, `q2`, `q2f16`,
 * `q1` and `q1f16` are not made: with 2 bits, rounding alone leaves a third of a weight as noise, and onnxruntime 1.30
 * has no kernel for 1 bit.
 */
export const transformersJsDTypes = ['fp32', 'fp16', 'q8', 'int8', 'uint8', 'q4', 'q4f16', 'bnb4'] as const;

/** A dtype as transformers.js names it. */
export type TransformersJsDType = (typeof transformersJsDTypes)[number];

/** What a dtype puts behind the name of the model file: `model_q4.onnx`. */
export const transformersJsSuffixes: Readonly<Record<TransformersJsDType, string>> = {
  fp32: '',
  fp16: '_fp16',
  q8: '_quantized',
  int8: '_int8',
  uint8: '_uint8',
  q4: '_q4',
  q4f16: '_q4f16',
  bnb4: '_bnb4',
};

/** Options of {@link transformersJs}. */
export interface TransformersJsOptions {
  /** The dtypes to make; all by default. */
  readonly dtypes?: readonly TransformersJsDType[] | undefined;
  /**
   * `model_type` of the model's `config.json`: decides what `perChannel` and `reducedRange` are when they are not given.
   */
  readonly modelType?: string | undefined;
  /**
   * What q8 is. `dynamic` (default): 8-bit arithmetic for CPUs and WASM. `foldable`: 8-bit storage, float arithmetic, for
   * WebGPU, where integer arithmetic would move to the CPU and back.
   */
  readonly q8?: 'dynamic' | 'foldable' | undefined;
  /** 8-bit matrices have a scale per column; by default yes, unless the model type is one that the recipe excepts. */
  readonly perChannel?: boolean | undefined;
  /** Signed 8-bit weights use 7 bits, so that CPUs without VNNI do not saturate; by default as `perChannel`. */
  readonly reducedRange?: boolean | undefined;
  /** Weights per scale of q4 and q4f16 (32 by default) and bnb4 (64 by default). */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256 | undefined;
  /** Whether 4-bit blocks have no zero point; yes by default. */
  readonly symmetric?: boolean | undefined;
  /** `accuracy_level` of 4-bit products; 4 by default, 0 leaves it out. */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4 | undefined;
  /**
   * How the 4-bit files (q4, q4f16, bnb4) store tables of embeddings: `int8` (default) with a scale per row and standard
   * operators; `int4` in blocks for `com.microsoft.GatherBlockQuantized` (bnb4 stays at int8); or `float` as the recipe
   * leaves them, which for a small encoder is most of the file.
   */
  readonly embeddings?: 'int8' | 'int4' | 'float' | undefined;
  /** How the integers of q4 and q4f16 are chosen: rounding (`rtn`, default) as the recipe does, or better. */
  readonly algorithm?: WeightOnlyOptions['algorithm'];
  /** Ranges of activations: what float16 cannot hold stays float32 in fp16 and q4f16. */
  readonly stats?: CalibrationStats | undefined;
  /** Operators that stay float32 in fp16 and q4f16. */
  readonly keepOperators?: readonly string[] | undefined;
}

/** One file of the set. */
export interface TransformersJsFile {
  /** The dtype it is loaded by. */
  readonly dtype: TransformersJsDType;
  /** What stands behind the name of the model file. */
  readonly suffix: string;
  /** One sentence for tables. */
  readonly summary: string;
  /** Passes over the simplified float32 model; none for fp32. */
  readonly steps: StepList;
}

/** What the recipe's options came to: the contents of its `quantize_config.json`. */
export interface TransformersJsSettings {
  /** Dtypes made. */
  readonly modes: readonly TransformersJsDType[];
  /** A scale per column of 8-bit matrices. */
  readonly per_channel: boolean;
  /** 7 bits for signed weights. */
  readonly reduce_range: boolean;
  /** Weights per scale of 4-bit blocks; `null` for each format's own. */
  readonly block_size: number | null;
  /** 4-bit blocks without zero points. */
  readonly is_symmetric: boolean;
  /** `accuracy_level` of 4-bit products; `null` when left out. */
  readonly accuracy_level: number | null;
  /** 1: NF4. */
  readonly quant_type: 1;
  /** Operators that stay float32 in float16 files; `null` for none beyond the pass's own. */
  readonly op_block_list: readonly string[] | null;
  /** How 4-bit files store tables of embeddings; not in the recipe's file, where it is always float. */
  readonly embeddings: 'int8' | 'int4' | 'float';
  /** Name of the algorithm that chose the 4-bit integers; the recipe's was `rtn`. */
  readonly algorithm: string;
  /** What q8 is; not in the recipe's file, where it is always dynamic. */
  readonly q8: 'dynamic' | 'foldable';
}

/** A file set, ready to be made. */
export interface TransformersJsPreset {
  /** The files, in the order of {@link transformersJsDTypes}. */
  readonly files: readonly TransformersJsFile[];
  /** What the options came to. */
  readonly settings: TransformersJsSettings;
}

/**
 * Model types whose 8-bit files the recipe made with one scale per matrix and 8 bits: decoders, whose logits suffer from
 * 7 bits, and some encoders that it lists by name.
 */
const wholeRangeTypes: ReadonlySet<string> = new Set([
  'bloom',
  'codegen',
  'falcon',
  'gemma',
  'gpt-neo',
  'gpt-neox',
  'gpt2',
  'gpt_bigcode',
  'gpt_neo',
  'gpt_neox',
  'gptj',
  'llama',
  'mistral',
  'mpt',
  'openelm',
  'opt',
  'owlv2',
  'phi',
  'phi3',
  'qwen2',
  'stablelm',
  'starcoder2',
  'unispeech',
  'unispeech-sat',
  'vision-encoder-decoder',
  'wav2vec2',
  'wavlm',
  'whisper',
]);

/** Operators for whose sake q8 takes unsigned weights: integer convolutions have no signed kernel in WASM. */
const unsignedOperators: ReadonlySet<string> = new Set(['Conv', 'GroupQueryAttention', 'MultiHeadAttention']);

function hasUnsignedOperator(model: Model): boolean {
  for (const node of model.graph.nodesDeep()) if (unsignedOperators.has(node.opType)) return true;
  return false;
}

const isDType = (name: string): name is TransformersJsDType =>
  (transformersJsDTypes as readonly string[]).includes(name);

/**
 * The set of files that transformers.js loads by dtype, as passes over a float32 model that was simplified. It follows the
 * recipe of the last Python scripts of transformers.js (3.8.1, `quantize.py` and `convert.py`), with these differences:
 *
 * - `Gemm` with a constant matrix is quantized in q4, q4f16 and bnb4 too; the recipe left it float32 there.
 * - 4-bit products carry `accuracy_level` 4: without it onnxruntime computes them in float, several times slower.
 * - Tables of embeddings have a scale per row in the 8-bit files, not one for the table, and the 4-bit files store
 *   them so too; the recipe left them float32 there.
 * - Unsigned 8-bit weights keep all 8 bits: the processors for whose sake the recipe gives one up saturate signed
 *   weights only.
 * - float16 keeps numbers up to 65504 (the recipe clamps weights to 10000), and what the ranges show to overflow
 *   stays float32.
 * - Matrices under 1024 elements stay float32 in the integer formats.
 *
 * @throws {LitheError} OPTIONS_INVALID when a dtype is not one of {@link transformersJsDTypes}
 *
 * @example
 * ```ts
 * import { GraphBuilder } from '@lithe/core';
 * import { transformersJs } from '@lithe/quantization';
 *
 * const builder = new GraphBuilder('encoder');
 * builder.output('y', builder.op.Relu([builder.input('x', 'float32', ['N', 8])]));
 * const { files } = transformersJs(await builder.build(), { dtypes: ['q4', 'q8'] });
 * files.map(({ suffix }) => suffix); // => ['_quantized', '_q4']
 * ```
 */
export function transformersJs(model: Model, options: TransformersJsOptions = {}): TransformersJsPreset {
  const { dtypes = transformersJsDTypes, modelType, q8 = 'dynamic', symmetric = true } = options;
  const {
    accuracyLevel = 4,
    blockSize,
    keepOperators = [],
    stats,
    embeddings = 'int8',
    algorithm = 'rtn',
  } = options;
  const unknown = dtypes.filter((dtype) => !isDType(dtype));
  if (unknown.length > 0) {
    throw errors.optionsInvalid(
      'transformersJs',
      unknown.map((dtype) => `"${dtype}" is not a dtype that it makes.`),
      `It makes ${transformersJsDTypes.join(', ')}.`,
    );
  }
  const byType = modelType === undefined || !wholeRangeTypes.has(modelType);
  const { perChannel = byType, reducedRange = byType } = options;
  const half = float16Compute({ keepOperators, ...(stats === undefined ? {} : { stats }) });
  const nbits = weightOnly({
    bits: 4,
    blockSize: blockSize ?? 32,
    symmetric,
    accuracyLevel,
    algorithm,
    // Tables that a product shares are stored once, for both; the others are rows by then.
    embeddings: embeddings === 'int8' ? 'auto' : embeddings,
  });
  const rows = embeddings === 'int8' && tableRows({ shared: false });
  const rest = embeddings === 'int4' && tableRows();
  const nbitsAndTables: StepList = [rows, nbits, rest];
  const integers = (weights: 'int8' | 'uint8'): StepList => [
    dynamicInt8({
      weights,
      convolutions: true,
      embeddings: true,
      reducedRange,
      granularity: perChannel ? 'per-channel' : 'per-tensor',
    }),
  ];
  const unsigned = hasUnsignedOperator(model);
  const forms: Readonly<Record<TransformersJsDType, Pick<TransformersJsFile, 'summary' | 'steps'>>> = {
    fp32: { summary: 'float32, simplified', steps: [] },
    fp16: { summary: 'float16 weights and arithmetic', steps: [half] },
    q8:
      q8 === 'foldable'
        ? { summary: 'int8 weights, expanded at load', steps: [foldableWeights({ bits: 8 })] }
        : {
            summary: `8-bit products, ${unsigned ? 'unsigned' : 'signed'} weights`,
            steps: integers(unsigned ? 'uint8' : 'int8'),
          },
    int8: { summary: '8-bit products, signed weights', steps: integers('int8') },
    uint8: { summary: '8-bit products, unsigned weights', steps: integers('uint8') },
    q4: { summary: `4-bit weights in blocks of ${blockSize ?? 32}`, steps: nbitsAndTables },
    q4f16: { summary: '4-bit weights in blocks, the rest float16', steps: [nbitsAndTables, half] },
    bnb4: {
      summary: `4-bit NF4 weights in blocks of ${blockSize ?? 64}`,
      steps: [embeddings !== 'float' && tableRows(), normalFloat4({ blockSize: blockSize ?? 64 })],
    },
  };
  const modes = transformersJsDTypes.filter((dtype) => dtypes.includes(dtype));
  return {
    files: modes.map((dtype) => ({ dtype, suffix: transformersJsSuffixes[dtype], ...forms[dtype] })),
    settings: {
      modes,
      per_channel: perChannel,
      reduce_range: reducedRange,
      block_size: blockSize ?? null,
      is_symmetric: symmetric,
      accuracy_level: accuracyLevel === 0 ? null : accuracyLevel,
      quant_type: 1,
      op_block_list: keepOperators.length === 0 ? null : keepOperators,
      embeddings,
      algorithm: typeof algorithm === 'string' ? algorithm : algorithm.name,
      q8,
    },
  };
}
