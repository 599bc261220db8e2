import { formatType, GraphBuilder, type Model, standardOps, Tensor, verify } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { layers } from './layers.ts';
import { cnn, mlp, mobileNetV2, resnet20, resnet56, transformerEncoder } from './networks.ts';

/** Number of trained weights: running statistics and constants of the graph left out. */
function weights(model: Model): number {
  let count = 0;
  for (const { name, initializer } of model.graph.initializers) {
    if (/\.(weight|bias)$/.test(name))
      count += (initializer?.shape ?? []).reduce((left, right) => left * right, 1);
  }
  return count;
}

describe('ready networks', () => {
  // Counts by hand from the layers, or as the papers and torchvision give them.
  it.each([
    ['cnn', () => cnn({ image: [1, 28, 28] }), 320 + 18496 + (3136 * 128 + 128) + 1290],
    ['cnn for 32x32', () => cnn(), 896 + 18496 + (4096 * 128 + 128) + 1290],
    // 0.27 and 0.86 million (table 6 of the paper); two projections of 1x1 and their norms come on top.
    ['resnet20', () => resnet20(), 272474],
    ['resnet56', () => resnet56(), 855770],
    // torchvision: 3,504,872 with 1000 classes.
    ['mobileNetV2', () => mobileNetV2({ classes: 1000 }), 3504872],
    ['mlp', () => mlp(), 784 * 512 + 512 + 512 * 512 + 512 + 5130],
    [
      'transformerEncoder',
      () => transformerEncoder({ depth: 1 }),
      1000 * 128 + 64 * 128 + 4 * (128 * 128 + 128) + 3 * 256 + (128 * 512 + 512) + (512 * 128 + 128) + 1290,
    ],
  ] as const)('%s is valid, has its weights and gives logits', async (name, make, count) => {
    const model = await make();
    expect(verify(model, { opset: standardOps })).toEqual([]);
    expect(weights(model)).toBe(count);
    expect(formatType(model.graph.outputs[0]?.type)).toBe(
      `float32[N, ${name === 'mobileNetV2' ? 1000 : 10}]`,
    );
  });

  it('mobileNetV2 halves the image five times: 7 x 7 of 224 are left', async () => {
    const { graph } = await mobileNetV2();
    const [pooled] = [...graph.nodes()].filter((node) => node.is('ReduceMean'));
    expect(pooled?.input(0)?.shape).toEqual(['N', 1280, 7, 7]);
  });

  it('depends on the seed alone', async () => {
    const first = async (seed: number): Promise<unknown> => {
      const model = await mlp({ inputs: 3, hidden: [2], seed });
      return (await model.graph.value('linear1.weight')?.initializer?.load())?.data;
    };
    expect(await first(1)).toEqual(await first(1));
    expect(await first(1)).not.toEqual(await first(2));
  });
});

describe('a network that is too large', () => {
  const tooMany =
    /^Options of the network are not valid: With ".*" of shape \[.*\] it has more than 536870912 weights\.$/;
  it.each([
    ['in one layer', () => mlp({ inputs: 1e6, hidden: [1e6] })],
    ['by the channels of its image', () => resnet20({ image: [4e6, 32, 32] })],
    ['by its image', () => cnn({ image: [1, 1e6, 1e6] })],
    ['by a size that no number holds', () => mlp({ inputs: 1e200, hidden: [1e200] })],
    ['by its tokens', () => transformerEncoder({ vocabulary: 1e6, width: 1e6 })],
  ])('is refused %s', async (_, make) => {
    await expect(make()).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      message: expect.stringMatching(tooMany) as string,
    });
  });

  it('is refused by the sum of its layers', () => {
    const builder = new GraphBuilder('sum');
    const net = layers(builder, 0);
    const x = builder.input('x', 'float32', ['N', 2 ** 28]);
    // Nothing of that size is made here: only what is asked for counts.
    const small = (): Tensor<'float32'> => Tensor.from('float32', [1, 1], new Float32Array(1));
    net.linear(x, 1, { name: 'a', initializer: small, bias: false });
    net.linear(x, 1, { name: 'b', initializer: small, bias: false });
    expect(() => net.linear(x, 1, { name: 'c', initializer: small })).toThrow('With "c.weight" of shape');
  });
});

describe('layers', () => {
  it('attend as the formula says', async () => {
    const builder = new GraphBuilder('attention');
    const net = layers(builder, 1);
    const x = builder.input('x', 'float32', [1, 2, 2]);
    builder.output('y', net.multiHeadAttention(x, 1, { name: 'a' }));
    const model = await builder.build();
    const eye = Tensor.from('float32', [2, 2], Float32Array.of(1, 0, 0, 1));
    for (const part of ['query', 'key', 'value', 'output']) {
      const value = model.graph.value(`a.${part}.weight`);
      if (value !== undefined) model.graph.setInitializer(value, eye);
    }
    const { y } = await evaluateModel(model, {
      x: Tensor.from('float32', [1, 2, 2], Float32Array.of(1, 0, 0, 1)),
    });
    // With identities for projections: weights are softmax([1, 0] / sqrt 2) = [p, 1 - p].
    const p = 1 / (1 + Math.exp(-1 / Math.SQRT2));
    for (const [index, wanted] of [p, 1 - p, 1 - p, p].entries())
      expect(y?.toFloat64Array()[index]).toBeCloseTo(wanted, 6);
  });

  it('refuse what does not fit', () => {
    const builder = new GraphBuilder('wrong');
    const net = layers(builder, 1);
    const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' });
    const x = builder.input('x', 'float32', ['N', 6, 'H', 'W']);
    expect(() => net.conv2d(x, 4, { groups: 4 })).toThrow(invalid);
    expect(() => net.linear(x, 4)).toThrow(invalid);
    expect(() => net.dropout(x, 1)).toThrow(invalid);
    expect(() => net.multiHeadAttention(builder.input('t', 'float32', ['N', 4, 6]), 4)).toThrow(invalid);
  });
});
