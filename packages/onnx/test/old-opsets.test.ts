import type { Model } from '@lithe/core';
import { readOnnx, readTensorProto, upgradeNotes, writeOnnx } from '@lithe/onnx';
import { Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { type NodeCase, readArchive } from '../../../test/onnx-node/archive.ts';
import { agreement, runInOrder } from './models.ts';

const cases = readArchive(new URL('data/old-opsets.tgz', import.meta.url));

/** Operators of which some cases have no form at the working opset, with the reasons given for them. */
const carried: Readonly<Record<string, readonly RegExp[]>> = {
  ConstantFill: [/no operator of ai\.onnx/],
  Resize: [/not known/, /both scales and sizes/, /tf_half_pixel_for_nn/],
  Scan: [/batches of sequences/],
  Upsample: [/not known/],
};

/** What onnxruntime takes. */
function tensorOf(bytes: Uint8Array): Tensor {
  const { dtype, shape, data } = readTensorProto(bytes);
  return new Tensor(dtype as 'float32', data as Float32Array, [...shape]);
}

interface Outcome {
  readonly name: string;
  readonly problem: string | undefined;
}

async function compare({ name, model: bytes, runs }: NodeCase): Promise<Outcome | undefined> {
  const model: Model = await readOnnx(bytes);
  for (const { opType, reason } of upgradeNotes(model)) {
    if (carried[opType]?.some((pattern) => pattern.test(reason)) !== true) return { name, problem: reason };
  }
  const feeds = (runs[0]?.inputs ?? []).map(tensorOf);
  const written: Uint8Array[] = [];
  if (upgradeNotes(model).length === 0) written.push(await writeOnnx(model, { opset: 21 }));
  // Below opset 7 nothing is written, so what only opset 6 knows cannot be.
  const experimental = upgradeNotes(model).some((note) => note.opset < 7);
  if (!experimental) written.push(await writeOnnx(model, { valueInfo: 'all' }));
  const original = await runInOrder(bytes, feeds).catch(() => undefined);
  let compared = false;
  for (const file of written) {
    const actual = await runInOrder(file, feeds).catch((error: Error) => error.message);
    if (original === undefined) continue;
    if (typeof actual === 'string') return { name, problem: actual };
    const difference = agreement(original, actual);
    if (!(difference < 1e-5)) return { name, problem: `differs by ${difference}` };
    compared = true;
  }
  return compared ? { name, problem: undefined } : undefined;
}

describe('models of opsets 1 to 20', () => {
  it('give the results of the original at opset 21 and at the opset they are written at', async () => {
    const outcomes: Outcome[] = [];
    for (const item of cases) {
      const outcome = await compare(item);
      if (outcome !== undefined) outcomes.push(outcome);
    }
    expect(outcomes.filter((outcome) => outcome.problem !== undefined)).toEqual([]);
    // The others are not known to onnxruntime at their own opset.
    expect(outcomes.length).toBeGreaterThan(700);
  });
});
