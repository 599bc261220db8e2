import { GraphBuilder, type Model, Tensor } from '@lithe/core';
import { expect, it } from 'vitest';

it('tells tensors apart by what they hold, wherever they stand', () => {
  const tensor = (...values: number[]): Tensor =>
    Tensor.from('float32', [values.length], Float32Array.of(...values));
  expect(tensor(1, Number.NaN)).toEqual(tensor(1, Number.NaN));
  expect({ deep: [tensor(1, 2)] }).toEqual({ deep: [tensor(1, 2)] });
  expect({ deep: [tensor(1, 2)] }).not.toEqual({ deep: [tensor(1, 3)] });
  expect(new Map([['x', tensor(1)]])).not.toEqual(new Map([['x', tensor(2)]]));
  expect(tensor(1, 2)).not.toEqual(tensor(1, 2).reshape([2, 1]));
  expect(tensor(1)).toMatchObject({ dtype: 'float32', shape: [1] });
  const words = (...texts: string[]): Tensor => Tensor.from('string', [texts.length], texts);
  expect(words('a', 'b')).toEqual(words('a', 'b'));
  expect(words('a', 'b')).not.toEqual(words('a', 'c'));
});

it('takes no graph for another', async () => {
  const model = (dim: number): Promise<Model> => {
    const b = new GraphBuilder('g');
    b.output('y', b.input('x', 'float32', [dim]));
    return b.build();
  };
  const one = await model(1);
  expect({ one }).toEqual({ one });
  expect(one).not.toEqual(await model(2));
  expect(one.graph).not.toEqual((await model(1)).graph);
});
