import { arrayDataset, type Dataset, optimize, Tensor, takeSamples } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { basic, classes, label, points, run, SAMPLES, weightOf, x } from '../../test/two-classes.ts';
import { mlp } from '../layers/networks.ts';
import { train } from './train.ts';

describe('the data of training/train', () => {
  it('takes bytes as class numbers', async () => {
    const bytes = Tensor.from('uint8', [SAMPLES], Uint8Array.from(classes));
    const data = arrayDataset({ inputs: { x }, targets: { y: bytes } });
    const trained = await run(basic, { trainingData: data });
    expect(await weightOf(trained.model, 'linear1.weight')).toEqual(
      await weightOf((await run(basic)).model, 'linear1.weight'),
    );
  });

  it('refuses data that does not fit, in words', async () => {
    const targets = { label: Tensor.from('int64', [SAMPLES], new BigInt64Array(SAMPLES).fill(2n)) };
    const wrong: readonly Dataset[] = [
      arrayDataset({ inputs: { x } }),
      arrayDataset({ inputs: { y: x }, targets: { label } }),
      arrayDataset({ inputs: { x }, targets }),
      arrayDataset({ inputs: { x }, targets: { a: label, b: label } }),
      arrayDataset({ inputs: { x }, targets: { label: x } }),
    ];
    for (const trainingData of wrong)
      await expect(run(basic, { trainingData })).rejects.toMatchObject({ cause: { code: 'DATA_INVALID' } });
    await expect(run({ ...basic, samples: 1, validation: 0.5 })).rejects.toMatchObject({
      cause: { code: 'DATA_INVALID' },
    });
    await expect(run(basic, { trainingData: undefined })).rejects.toMatchObject({ code: 'PASS_NEEDS' });
  });

  describe('with "samples" of data that is sorted by class', () => {
    // 3 classes, 4 samples each, in order: the first 5 have the classes 0 and 1.
    const rows = 12;
    const sorted = {
      inputs: { x: Tensor.from('float32', [rows, 2], points.slice(0, 2 * rows)) },
      targets: {
        label: Tensor.from(
          'int64',
          [rows],
          BigInt64Array.from({ length: rows }, (_, at) => BigInt(Math.floor(at / 4))),
        ),
      },
    };
    const trained = async (
      options: object,
      data: Dataset = arrayDataset(sorted),
    ): Promise<{ readonly skipped: readonly string[]; readonly warnings: readonly string[] }> => {
      const warnings: string[] = [];
      const { report } = await optimize(
        await mlp({ inputs: 2, hidden: [4], classes: 3 }),
        [train.from({ ...basic, epochs: 1, batchSize: 1, ...options })],
        {
          backend: referenceBackend(),
          trainingData: data,
          seed: 1,
          log: { warn: (text) => warnings.push(text) },
        },
      );
      const skipped = report.steps[0]?.skipped ?? [];
      return {
        skipped: skipped.map(({ target, code, reason }) => `${target} ${code}: ${reason}`),
        warnings,
      };
    };

    it('says in report and log which classes the model is not shown', async () => {
      const { skipped, warnings } = await trained({ samples: 5 });
      const reason =
        '"samples" takes the first 5 samples of tensors in memory, and of the 3 classes that the model scores they lack 1: 2. It unlearns what it is not shown. Shuffle the data, leave "samples" out, or choose by chance where the data is opened; in a recipe, data.train.samples does.';
      expect(skipped).toEqual([`1 class classes-unseen: ${reason}`]);
      expect(warnings).toEqual([reason]);
      expect((await trained({ samples: 1 })).warnings[0]).toContain('they lack 2: 1, 2.');
    });

    it('says it of data whose size nobody knows, too', async () => {
      const whole = arrayDataset(sorted);
      expect((await trained({ samples: 8 }, { ...whole, size: undefined })).warnings).toHaveLength(1);
    });

    it.each([
      ['all classes are there', { samples: 9 }],
      ['no sample is left out', { samples: 12 }],
      ['all samples are asked for', {}],
      ['the target holds no class numbers', { samples: 5, loss: { name: 'mean-squared-error' } }],
    ])('says nothing where %s', async (what, options) => {
      const targets = {
        label: Tensor.from('float32', [rows, 3], new Float32Array(3 * rows)),
      };
      const regression = arrayDataset({ inputs: sorted.inputs, targets });
      const data = what.includes('no class') ? regression : undefined;
      expect(await trained(options, data)).toEqual({ skipped: [], warnings: [] });
    });

    it('says nothing of classes that whole data lacks', async () => {
      const few = takeSamples(arrayDataset(sorted), 5);
      expect(await trained({ samples: 5 }, few)).toEqual({ skipped: [], warnings: [] });
    });
  });
});
