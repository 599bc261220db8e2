import { GraphBuilder } from '@lithe/core';
import { passConformance } from '@lithe/testkit';
import { cnn, transformerEncoder } from '@lithe/training';
import { describe, it } from 'vitest';
import { prune } from '../src/index.ts';
import { normal, tokens } from './support.ts';

passConformance(
  () => prune({ criterion: 'random', ratio: 0.4, scope: 'global' }),
  [
    {
      name: 'a CNN',
      model: () => cnn({ image: [1, 8, 8] }),
      feeds: { x: normal([2, 1, 8, 8], 1) },
    },
    {
      name: 'a transformer',
      model: () => transformerEncoder({ vocabulary: 20, length: 6, depth: 1, width: 16, heads: 2 }),
      feeds: { tokens: tokens([2, 6], 1, 20) },
    },
    {
      name: 'a model with nothing to remove',
      model: () => {
        const b = new GraphBuilder('plain');
        b.output('y', b.op.Relu([b.input('x', 'float32', ['N', 3])]));
        return b.build();
      },
      feeds: { x: normal([2, 3], 1) },
    },
  ],
  // Pruning what is left of a pruned model is what it is for.
  { describe, it, idempotent: false },
);
