import { GraphBuilder, type Model, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { createTarget } from '../targets.ts';
import { planCandidates } from './candidates.ts';

async function model(): Promise<Model> {
  const b = new GraphBuilder('two');
  const x = b.input('x', 'float32', ['N', 4, 8, 8]);
  const weight = Tensor.from('float32', [8, 4, 3, 3], new Float32Array(288));
  const flat = b.op.Flatten([b.op.GlobalAveragePool([b.op.Conv([x, weight])])]);
  b.output('y', b.op.MatMul([flat, Tensor.from('float32', [8, 5], new Float32Array(40))]));
  return b.build();
}

const integers = /^(static|dynamic)-int8/;

describe('formats that multiply integers', () => {
  it.each([
    [{ portable: false, saturates: false }, ['static-int8', 'dynamic-int8'], []],
    [
      { portable: false, saturates: true },
      ['static-int8', 'static-int8-7-bit', 'dynamic-int8', 'dynamic-int8-7-bit'],
      [],
    ],
    [
      { portable: true, saturates: false },
      ['static-int8-7-bit', 'dynamic-int8-7-bit'],
      ['static-int8', 'dynamic-int8'],
    ],
  ])('are tried in the forms that suit the processors: %o', async (processors, tried, not) => {
    const target = await createTarget('node-cpu');
    const plan = planCandidates(await model(), target, true, processors);
    const found = plan.candidates.filter(({ name }) => integers.test(name));
    expect(found.map(({ name }) => name)).toEqual(tried);
    expect(found.map(({ mayOverflow }) => mayOverflow)).toEqual(tried.map((name) => !name.endsWith('7-bit')));
    expect(plan.notTried.map(({ name }) => name).filter((name) => integers.test(name))).toEqual(not);
    for (const { reason } of plan.notTried) expect(reason.length).toBeGreaterThan(5);
  });

  it('are not tried without real data, in any form', async () => {
    const target = await createTarget('node-cpu');
    const plan = planCandidates(await model(), target, false, { portable: true, saturates: true });
    expect(plan.candidates.map(({ name }) => name)).not.toContain('static-int8-7-bit');
    expect(plan.notTried.find(({ name }) => name === 'static-int8')?.reason).toMatch(/real inputs/);
  });
});
