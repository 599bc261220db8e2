import { nodeCpuTarget } from '@lithe/backend-onnxruntime';
import { type Backend, type Model, optimize, type PassStep } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  type CalibratorName,
  crossLayerEqualization,
  dynamicInt8,
  foldableWeights,
  mixedPrecision,
  smoothQuant,
  staticInt8,
  weightOnly,
  withRecovery,
} from '@lithe/quantization';
import type { MadeFile } from './peers.ts';
import { datasetOf, type Subject } from './subject.ts';

interface Variant {
  readonly name: string;
  readonly kinds: readonly Subject['kind'][];
  steps(subject: Subject): readonly PassStep[];
}

const both = ['convolutional', 'transformer'] as const;
const convolutional = ['convolutional'] as const;
const transformer = ['transformer'] as const;
const calibrators: readonly CalibratorName[] = ['min-max', 'moving-average', 'percentile', 'entropy', 'mse'];

/** Every operator that has an integer form, whatever it does to speed: what the tools of others do. */
const everything = { depthwise: true, conversionCost: 0 } as const;
const perTensor = { ...everything, weightScales: 'per-tensor' } as const;
const int4 = { bits: 4, blockSize: 32 } as const;

const convolutionalVariants: readonly Omit<Variant, 'kinds'>[] = [
  ...calibrators.map((calibrator) => ({
    name: `static everything, ${calibrator}`,
    steps: () => [staticInt8({ ...everything, calibrator })],
  })),
  {
    name: 'static everything, 7-bit weights',
    steps: () => [staticInt8({ ...everything, reducedRange: true })],
  },
  {
    name: 'static everything, bias correction',
    steps: () => [staticInt8({ ...everything, recovery: {} })],
  },
  { name: 'static everything, per tensor', steps: () => [staticInt8(perTensor)] },
  {
    name: 'static everything, per tensor, equalized, bias correction',
    steps: () => [crossLayerEqualization(), staticInt8({ ...perTensor, recovery: {} })],
  },
  {
    name: 'foldable int4 b32, AdaRound',
    steps: () => [withRecovery((exclude) => foldableWeights({ bits: 4, exclude }), { adaRound: true })],
  },
];

const transformerVariants: readonly Omit<Variant, 'kinds'>[] = [
  { name: 'dynamic', steps: () => [dynamicInt8()] },
  { name: 'dynamic, 7-bit weights', steps: () => [dynamicInt8({ reducedRange: true })] },
  { name: 'static, SmoothQuant', steps: () => [smoothQuant(), staticInt8()] },
  ...(['rtn', 'hqq', 'gptq', 'awq'] as const).map((algorithm) => ({
    name: `int4 b32 ${algorithm}`,
    steps: () => [weightOnly({ ...int4, algorithm })],
  })),
];

const variants: readonly Variant[] = [
  { name: 'static, defaults', kinds: both, steps: () => [staticInt8()] },
  { name: 'static, 7-bit weights', kinds: both, steps: () => [staticInt8({ reducedRange: true })] },
  {
    name: 'static, 7-bit weights where sums overflow',
    kinds: both,
    steps: () => [staticInt8({ reducedRange: 'auto' })],
  },
  {
    name: 'static, layers that suffer in float',
    kinds: both,
    steps: () => [staticInt8({ recovery: { fallback: 'auto' } })],
  },
  ...convolutionalVariants.map((item) => ({ ...item, kinds: convolutional })),
  ...transformerVariants.map((item) => ({ ...item, kinds: transformer })),
  { name: 'foldable int8', kinds: both, steps: () => [foldableWeights()] },
  { name: 'foldable int4 b32', kinds: both, steps: () => [foldableWeights({ bits: 4 })] },
  {
    name: 'mixed foldable int8 and int4, drift 0.01',
    kinds: both,
    steps: ({ large }) => [mixedPrecision(large ? { samples: 8, minimumElements: 16_384, trials: 12 } : {})],
  },
];

/** Lithe's files of a simplified model, by every technique. */
export async function* ourFiles(
  subject: Subject,
  float: Model,
  settings: { readonly backend: Backend; readonly only: string },
): AsyncGenerator<MadeFile> {
  const data = datasetOf(subject.calibration, 'calibration samples');
  for (const { name, kinds, steps } of variants) {
    if (!kinds.includes(subject.kind) || !`Lithe ${name}`.includes(settings.only)) continue;
    const started = performance.now();
    let file: Uint8Array | string;
    try {
      const { model } = await optimize(float, steps(subject), {
        backend: settings.backend,
        data,
        target: nodeCpuTarget(),
        check: 'off',
      });
      file = await writeOnnx(model);
    } catch (error) {
      file = String(error);
    }
    yield { name: `Lithe ${name}`, file, seconds: (performance.now() - started) / 1000 };
  }
}
