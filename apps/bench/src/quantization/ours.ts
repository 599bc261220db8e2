import { nodeCpuTarget } from '@lithe/backend-onnxruntime';
import { type Backend, type Model, optimize, type PassStep } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  type CalibratorName,
  dynamicInt8,
  foldableWeights,
  mixedPrecision,
  staticInt8,
  weightOnly,
} from '@lithe/quantization';
import type { MadeFile } from './peers.ts';
import { datasetOf, type Subject } from './subject.ts';

interface Variant {
  readonly name: string;
  readonly kinds: readonly Subject['kind'][];
  steps(): readonly PassStep[];
}

const both = ['convolutional', 'transformer'] as const;
const convolutional = ['convolutional'] as const;
const transformer = ['transformer'] as const;
const calibrators: readonly CalibratorName[] = ['min-max', 'moving-average', 'percentile', 'entropy', 'mse'];

/** Every operator that has an integer form, whatever it does to speed: what the tools of others do. */
const everything = { depthwise: true, conversionCost: 0 } as const;

const variants: readonly Variant[] = [
  { name: 'static, defaults', kinds: both, steps: () => [staticInt8()] },
  ...calibrators.map(
    (calibrator): Variant => ({
      name: `static, ${calibrator}`,
      kinds: both,
      steps: () => [staticInt8({ calibrator })],
    }),
  ),
  ...calibrators.map(
    (calibrator): Variant => ({
      name: `static everything, ${calibrator}`,
      kinds: convolutional,
      steps: () => [staticInt8({ ...everything, calibrator })],
    }),
  ),
  {
    name: 'static everything, 7-bit weights',
    kinds: convolutional,
    steps: () => [staticInt8({ ...everything, reducedRange: true })],
  },
  { name: 'dynamic', kinds: transformer, steps: () => [dynamicInt8()] },
  { name: 'foldable int8', kinds: both, steps: () => [foldableWeights()] },
  { name: 'foldable int4 b32', kinds: both, steps: () => [foldableWeights({ bits: 4 })] },
  {
    name: 'foldable mixed int8/int4, drift 0.01',
    kinds: both,
    steps: () => [mixedPrecision({ budget: { drift: 0.01 } })],
  },
  { name: 'int4 b32 rtn', kinds: transformer, steps: () => [weightOnly({ bits: 4, blockSize: 32 })] },
];

/** Lithe's files of a simplified model, by every technique. */
export async function ourFiles(
  subject: Subject,
  float: Model,
  settings: { readonly backend: Backend; readonly only: string },
): Promise<readonly MadeFile[]> {
  const data = datasetOf(subject.calibration, 'calibration samples');
  const files: MadeFile[] = [];
  for (const { name, kinds, steps } of variants) {
    if (!kinds.includes(subject.kind) || !`Lithe ${name}`.includes(settings.only)) continue;
    const started = performance.now();
    let file: Uint8Array | string;
    try {
      const { model } = await optimize(float, steps(), {
        backend: settings.backend,
        data,
        target: nodeCpuTarget(),
        check: 'off',
      });
      file = await writeOnnx(model);
    } catch (error) {
      file = String(error);
    }
    const seconds = (performance.now() - started) / 1000;
    files.push({ name: `Lithe ${name}`, file, seconds });
    process.stderr.write(
      `${subject.name}: Lithe ${name} ${typeof file === 'string' ? `failed: ${file}` : `${seconds.toFixed(1)} s`}\n`,
    );
  }
  return files;
}
