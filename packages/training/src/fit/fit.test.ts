import { onnxruntimeNode, onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { type Backend, GraphBuilder, isLitheError, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyData, tinyModel, tinyOptions, weightBytes } from '../../test/data.ts';
import { type CheckpointStore, memoryCheckpoints } from '../checkpoint/store.ts';
import { flip } from '../data/augment.ts';
import { filledWith } from '../layers/initializer.ts';
import { layers } from '../layers/layers.ts';
import { sgd } from '../optimizers/standard.ts';
import { fit } from './fit.ts';
import { type EpochRecord, metricLines, type StepRecord } from './fit-options.ts';

const data = tinyData(96);
let node: Backend;
beforeAll(async () => {
  node = await onnxruntimeNode({ threads: 1 });
});
afterAll(() => node.dispose());

/** Losses of a run. */
async function losses(backend: Backend): Promise<readonly number[]> {
  const steps: StepRecord[] = [];
  await fit(await tinyModel(), data, { ...tinyOptions(), backend, onStep: (record) => steps.push(record) });
  return steps.map(({ loss }) => loss);
}

describe('fit', () => {
  it('gives the same losses on the interpreter, onnxruntime-node and onnxruntime-web', async () => {
    const expected = await losses(referenceBackend());
    expect(expected.length).toBe(12);
    expect(expected.at(-1)).toBeLessThan((expected[0] ?? 0) * 0.7);
    const web = await onnxruntimeWeb({ threads: 1 });
    for (const backend of [node, web]) {
      const found = await losses(backend);
      // float32 sums in another order; twelve steps of Adam make that larger.
      for (const [index, loss] of found.entries()) expect(loss).toBeCloseTo(expected[index] ?? Number.NaN, 3);
    }
    await web.dispose();
  });

  it('goes on from a checkpoint after it was cancelled at any step, to the same bytes', async () => {
    const model = await tinyModel();
    const whole = await fit(model, data, {
      ...tinyOptions(),
      augment: [flip()],
      emaDecay: 0.9,
      backend: node,
    });
    const expected = await weightBytes(whole.model);
    for (const last of [1, 5, 6, 9]) {
      const checkpoint = memoryCheckpoints();
      const options = { ...tinyOptions(), augment: [flip()], emaDecay: 0.9, backend: node, checkpoint };
      const stop = new AbortController();
      const onStep = ({ step }: StepRecord): void => {
        if (step === last) stop.abort(new Error('enough'));
      };
      await expect(fit(model, data, { ...options, signal: stop.signal, onStep })).rejects.toThrow('enough');
      const seen: number[] = [];
      const resumed = await fit(model, data, { ...options, onStep: ({ step }) => seen.push(step) });
      expect(seen[0]).toBe(last + 1);
      expect(await weightBytes(resumed.model)).toEqual(expected);
      expect(resumed.history.map(({ loss }) => loss)).toEqual(whole.history.map(({ loss }) => loss));
    }
  });

  it('gives the result of a finished run at once', async () => {
    const checkpoint = memoryCheckpoints();
    const options = {
      ...tinyOptions(),
      epochs: 20,
      patience: 2,
      evaluate: () => Promise.resolve(0.5),
      checkpoint,
    };
    const first = await fit(await tinyModel(), data, { ...options, backend: node });
    // The metric never gets better than in epoch 1: two more, and it stops.
    expect(first.history.length).toBe(3);
    expect(first.epoch).toBe(1);
    const unused: Backend = { ...referenceBackend(), compile: () => Promise.reject(new Error('not needed')) };
    const again = await fit(await tinyModel(), data, { ...options, backend: unused });
    expect(again.epoch).toBe(1);
    expect(await weightBytes(again.model)).toEqual(await weightBytes(first.model));
  });

  it('gives back the best weights, or the last on demand', async () => {
    const metrics = [0.2, 0.9, 0.4];
    const seen: (readonly number[])[] = [];
    const run = async (keepBest: boolean): ReturnType<typeof fit> => {
      seen.length = 0;
      return await fit(await tinyModel(), data, {
        ...tinyOptions(),
        epochs: 3,
        keepBest,
        backend: node,
        evaluate: async (model) => {
          seen.push((await weightBytes(model))['conv1.weight'] ?? []);
          return metrics[seen.length - 1] ?? 0;
        },
      });
    };
    const best = await run(true);
    expect(best.epoch).toBe(2);
    expect((await weightBytes(best.model))['conv1.weight']).toEqual(seen[1]);
    const last = await run(false);
    expect(last.epoch).toBe(3);
    expect((await weightBytes(last.model))['conv1.weight']).toEqual(seen[2]);
  });

  it('refuses checkpoints of other runs and damaged ones', async () => {
    const checkpoint = memoryCheckpoints();
    const base = { ...tinyOptions(), epochs: 1, backend: node, checkpoint };
    await fit(await tinyModel(), data, base);
    const refusal = async (change: object, other = data): Promise<unknown> =>
      await fit(await tinyModel(), other, { ...base, ...change }).catch((error: unknown) =>
        isLitheError(error) ? [error.code, error.details?.['differences']] : error,
      );
    expect(await refusal({ seed: 4 })).toEqual(['CHECKPOINT_MISMATCH', ['seed']]);
    expect(await refusal({ optimizer: sgd() })).toEqual([
      'CHECKPOINT_MISMATCH',
      ['first weights', 'training graph'],
    ]);
    expect(await refusal({ clipNorm: 2 })).toEqual(['CHECKPOINT_MISMATCH', ['training graph']]);
    expect(await refusal({ learningRate: 0.01 })).toEqual(['CHECKPOINT_MISMATCH', ['learning rates']]);
    expect(await refusal({}, tinyData(97))).toEqual(['CHECKPOINT_MISMATCH', ['samples']]);
    const bytes = (await checkpoint.read()) ?? new Uint8Array();
    const kept = (content: Uint8Array): CheckpointStore => ({
      read: () => Promise.resolve(content),
      write: () => Promise.resolve(),
    });
    expect(await refusal({ checkpoint: kept(bytes.subarray(0, 100)) })).toEqual(['FILE_INVALID', undefined]);
    const text = new TextDecoder('latin1').decode(bytes).replace('\\"step\\":6', '\\"step\\":-');
    const damaged = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    expect(await refusal({ checkpoint: kept(damaged) })).toEqual(['FILE_INVALID', undefined]);
  });

  it('refuses the checkpoint of a model that differs only in what does not learn', async () => {
    const model = async (ratio: number, fixed: number): Promise<Model> => {
      const b = new GraphBuilder('fixed');
      const net = layers(b, 1);
      const first = net.linear(net.flatten(b.input('x', 'float32', ['N', 1, 8, 8])), 4, {
        name: 'fixed',
        initializer: filledWith(fixed),
      });
      b.output('logits', net.linear(net.dropout(net.relu(first), ratio), 4, { name: 'head' }));
      return await b.build();
    };
    const checkpoint = memoryCheckpoints();
    const options = { ...tinyOptions(), epochs: 1, backend: node, checkpoint, trainable: ['head.weight'] };
    await fit(await model(0.5, 0.1), data, options);
    const differing = async (ratio: number, fixed: number): Promise<unknown> =>
      await fit(await model(ratio, fixed), data, options).then(
        () => [],
        (error: unknown) => (isLitheError(error) ? error.details?.['differences'] : error),
      );
    expect(await differing(0.5, 0.1)).toEqual([]);
    expect(await differing(0.5, 0.2)).toEqual(['fixed weights']);
    expect(await differing(0.25, 0.1)).toEqual(['training graph']);
  });

  it('keeps metrics that are no numbers in its checkpoints', async () => {
    const metrics = [Number.NEGATIVE_INFINITY, Number.NaN, 0.5];
    const checkpoint = memoryCheckpoints();
    let epochs = 0;
    const options = {
      ...tinyOptions(),
      epochs: 3,
      backend: node,
      checkpoint,
      evaluate: () => Promise.resolve(metrics[epochs++] ?? 1),
    };
    const stop = new AbortController();
    const onEpoch = ({ epoch }: EpochRecord): void => {
      if (epoch === 2) stop.abort(new Error('enough'));
    };
    await expect(fit(await tinyModel(), data, { ...options, onEpoch, signal: stop.signal })).rejects.toThrow(
      'enough',
    );
    const { history, epoch } = await fit(await tinyModel(), data, options);
    expect(history.map(({ metric }) => metric)).toEqual(metrics);
    expect(epoch).toBe(3);
  });

  it('gives back no weights that are not finite, though no loss told of them', async () => {
    const wild = { ...tinyOptions(), optimizer: sgd(), clipNorm: undefined, schedule: undefined };
    const once = { ...wild, epochs: 1, batchSize: 96, learningRate: 1e39, backend: node };
    await expect(fit(await tinyModel(), data, once)).rejects.toMatchObject({
      code: 'TRAINING_DIVERGED',
      message: expect.stringContaining('Weight'),
    });
  });

  it('tells progress, time left, and metrics as JSON lines', async () => {
    let clock = 0;
    const labels: (string | undefined)[] = [];
    const lines: string[] = [];
    await fit(await tinyModel(), data, {
      ...tinyOptions(),
      epochs: 1,
      backend: node,
      now: () => {
        clock += 500;
        return clock;
      },
      onProgress: ({ done, total, label }) => labels.push(`${done}/${total} ${label}`),
      ...metricLines((line) => lines.push(line)),
    });
    expect(labels[0]).toMatch(/^1\/6 epoch 1 of 1, loss [\d.]+, 3 s left$/);
    const records = lines.map((line) => JSON.parse(line) as { type: string } & StepRecord & EpochRecord);
    expect(records.map(({ type }) => type)).toEqual([...Array<string>(6).fill('step'), 'epoch']);
    expect(records[1]).toMatchObject({
      step: 2,
      steps: 6,
      epoch: 1,
      milliseconds: 500,
      remainingMilliseconds: 2000,
    });
    const mean = records.slice(0, 6).reduce((sum, { loss }) => sum + loss, 0) / 6;
    expect(records[6]?.loss).toBeCloseTo(mean, 10);
  });

  it('counts a last batch by its samples', async () => {
    const steps: StepRecord[] = [];
    const { history } = await fit(await tinyModel(), tinyData(40), {
      ...tinyOptions(),
      epochs: 1,
      dropLast: false,
      backend: node,
      onStep: (record) => steps.push(record),
    });
    const [first, second, third] = steps.map(({ loss }) => loss) as [number, number, number];
    expect(history[0]?.loss).toBeCloseTo((16 * first + 16 * second + 8 * third) / 40, 10);
  });

  it('stops when the loss is no number any more, and when options make no sense', async () => {
    const wild = {
      ...tinyOptions(),
      optimizer: sgd(),
      clipNorm: undefined,
      learningRate: 1e30,
      schedule: undefined,
    };
    await expect(fit(await tinyModel(), data, { ...wild, backend: node })).rejects.toMatchObject({
      code: 'TRAINING_DIVERGED',
    });
    const invalid = { code: 'OPTIONS_INVALID' };
    for (const change of [
      { batchSize: 0 },
      { epochs: 1.5 },
      { learningRate: -1 },
      { patience: 2 },
      { batchSize: 97 },
      { checkpointEvery: 0 },
    ]) {
      await expect(
        fit(await tinyModel(), data, { ...tinyOptions(), ...change, backend: node }),
      ).rejects.toMatchObject(invalid);
    }
    const failing = { ...data, gather: () => Promise.reject(new Error('disk')) };
    await expect(fit(await tinyModel(), failing, { ...tinyOptions(), backend: node })).rejects.toThrow(
      'disk',
    );
  });

  it('keeps the running statistics of BatchNormalization', async () => {
    const { model } = await fit(await tinyModel(), data, { ...tinyOptions(), backend: node });
    const mean = await model.graph.value('norm1.mean')?.initializer?.load();
    expect(mean instanceof Tensor && [...mean.toFloat64Array()].every((value) => value !== 0)).toBe(true);
    expect([...model.graph.nodes()].map(({ opType }) => opType)).toEqual(
      [...(await tinyModel()).graph.nodes()].map(({ opType }) => opType),
    );
  });
});
