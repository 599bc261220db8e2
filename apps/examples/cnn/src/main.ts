import { rm } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { saveOnnx } from '@lithe/onnx/node';
import type { StepRecord } from '@lithe/training';
import { fileCheckpoints } from '@lithe/training/node';
import { type ImageSet, loadImages } from './images.ts';
import { plainAccuracy } from './plain-onnxruntime.ts';
import { trainImages } from './train.ts';

const usage = 'npm start -- mnist|fashion [--epochs 4] [--threads 2] [--seed 0] [--out .out/cnn]\n';

/** Trains the CNN on one of the data sets, saves it, and measures the file in plain onnxruntime. */
export async function main(args: readonly string[]): Promise<number> {
  let wanted: Wanted;
  try {
    wanted = readArguments(args);
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
    process.stderr.write(`${error.message}\n${usage}`);
    return 2;
  }
  return await train(wanted.set, wanted);
}

interface Wanted extends Settings {
  readonly set: ImageSet;
}

/** What the command line asks for. Options that are not known are a `TypeError` of Node's. */
function readArguments(args: readonly string[]): Wanted {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      epochs: { type: 'string' },
      threads: { type: 'string', default: '2' },
      seed: { type: 'string', default: '0' },
      out: { type: 'string', default: '.out/cnn' },
    },
  });
  const [set = 'mnist', more] = positionals;
  if (set !== 'mnist' && set !== 'fashion') throw new RangeError(`There is no data set "${set}".`);
  if (more !== undefined) throw new RangeError(`One data set at a time: "${more}" is too much.`);
  return {
    set,
    epochs: wholeNumber('epochs', values.epochs ?? (set === 'mnist' ? '4' : '8'), 1),
    threads: wholeNumber('threads', values.threads, 1),
    seed: wholeNumber('seed', values.seed, 0),
    folder: values.out,
  };
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(`--${name} takes a whole number from ${least}, not "${text}".`);
}

interface Settings {
  readonly epochs: number;
  readonly threads: number;
  readonly seed: number;
  readonly folder: string;
}

async function train(set: ImageSet, { epochs, threads, seed, folder }: Settings): Promise<number> {
  const started = performance.now();
  process.stderr.write(`reading ${set}\n`);
  const images = await loadImages(set);
  const backend = await onnxruntimeNode({ threads });
  const checkpoint = path.join(folder, `${set}.checkpoint.safetensors`);
  const { model } = await trainImages(images, {
    backend,
    epochs,
    seed,
    mirror: set === 'fashion',
    checkpoint: fileCheckpoints(checkpoint),
    onStep: showStep,
    onLine: (line) => process.stderr.write(`${process.stderr.isTTY ? '\r\u001b[K' : ''}${line}\n`),
  });
  await backend.dispose();
  const file = path.join(folder, `${set}.onnx`);
  await saveOnnx(model, file);
  // The run is whole: the next one starts afresh.
  await rm(checkpoint, { force: true });
  const accuracy = await plainAccuracy(file, images.test);
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(
    `${file}: ${(accuracy * 100).toFixed(2)} % of 10,000 held-out images in plain onnxruntime, ${seconds.toFixed(0)} s in all\n`,
  );
  return 0;
}

/** One line that is written over and over. */
function showStep({ step, steps, epoch, loss, remainingMilliseconds }: StepRecord): void {
  if (!process.stderr.isTTY || step % 10 !== 0) return;
  const left = Math.ceil(remainingMilliseconds / 1000);
  process.stderr.write(
    `\r\u001b[Kepoch ${epoch}, step ${step} of ${steps}: loss ${loss.toFixed(3)}, ${left} s left`,
  );
}
