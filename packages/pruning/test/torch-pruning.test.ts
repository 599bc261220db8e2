import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createRunContext, type Model, standardOps } from '@lithe/core';
import { loadOnnx } from '@lithe/onnx/node';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  batchNormScale,
  type Criterion,
  l1Norm,
  l2Norm,
  lampScore,
  type PruningGroup,
  pruningGroups,
} from '../src/index.ts';

/** What Torch-Pruning says about the same network; test/fixtures/torch-pruning.py writes it. */
interface Fixture {
  readonly scores: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

const fixture = JSON.parse(
  readFileSync(new URL('./fixtures/torch-pruning.json', import.meta.url), 'utf8'),
) as Fixture;
const file = fileURLToPath(new URL('../../../tools/models/trained/fashion-resnet.onnx', import.meta.url));

const criteria: readonly (readonly [string, Criterion])[] = [
  ['l2 mean none', l2Norm({ normalizer: 'none' })],
  ['l1 sum mean', l1Norm({ reduction: 'sum', normalizer: 'mean' })],
  ['l2 max max', l2Norm({ reduction: 'max', normalizer: 'max' })],
  ['lamp', lampScore()],
  ['batch-norm-scale', batchNormScale()],
];

describe('the groups and scores of a trained ResNet-20', () => {
  let model: Model;
  let groups: readonly PruningGroup[];
  beforeAll(async () => {
    model = await loadOnnx(file);
    groups = (await pruningGroups(model)).filter((group) => group.prunable);
  });

  it.each(criteria)('are those of Torch-Pruning: %s', async (name, criterion) => {
    const expected = fixture.scores[name] ?? {};
    expect(Object.keys(expected).length).toBe(groups.length);
    const context = { ...createRunContext(), model, backend: undefined, data: undefined, opset: standardOps };
    const found = await criterion.score(groups, context);
    for (const [root, theirs] of Object.entries(expected)) {
      // A group is named after its first layer here, and after any of its layers there.
      const place = groups.findIndex((group) => group.layers.includes(root));
      const ours = found[place];
      expect(ours?.length).toBe(theirs.length);
      for (const [unit, score] of theirs.entries())
        expect(Math.abs((ours?.[unit] ?? Number.NaN) - score)).toBeLessThan(
          1e-4 * Math.max(1e-3, Math.abs(score)),
        );
    }
  });
});
