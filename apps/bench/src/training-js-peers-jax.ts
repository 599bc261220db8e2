import { defaultDevice, init, jit, lax, nn, numpy as np, tree, valueAndGrad } from '@jax-js/jax';
import type { Tensor } from '@lithe/core';
import { logitsOf, type Peer, type PeerOps } from './training-js-peers-models.ts';

type Value = np.Array;

const EPSILON = 1e-5;

/** Every argument is kept (`ref`): the networks use values more than once, and are traced a single time. */
const ops: PeerOps<Value> = {
  conv: (x, weight, stride) => {
    const pad = weight.shape[2] === 1 ? 0 : 1;
    return lax.conv(
      x.ref,
      weight.ref,
      [stride, stride],
      [
        [pad, pad],
        [pad, pad],
      ],
    );
  },
  bias: (x, bias) => x.ref.add(bias.ref.reshape([1, -1, 1, 1])),
  batchNorm: (x, scale, bias) => {
    const mean = np.mean(x.ref, [0, 2, 3], { keepdims: true });
    const centered = x.ref.sub(mean);
    const variance = np.mean(np.square(centered.ref), [0, 2, 3], { keepdims: true });
    const normal = centered.div(np.sqrt(variance.add(EPSILON)));
    return normal.mul(scale.ref.reshape([1, -1, 1, 1])).add(bias.ref.reshape([1, -1, 1, 1]));
  },
  layerNorm: (x, scale, bias) => {
    const centered = x.ref.sub(np.mean(x.ref, -1, { keepdims: true }));
    const variance = np.mean(np.square(centered.ref), -1, { keepdims: true });
    return centered
      .div(np.sqrt(variance.add(EPSILON)))
      .mul(scale.ref)
      .add(bias.ref);
  },
  relu: (x) => nn.relu(x.ref),
  gelu: (x) => nn.gelu(x.ref, { approximate: false }),
  softmax: (x) => nn.softmax(x.ref, -1),
  add: (left, right) => left.ref.add(right.ref),
  scale: (x, factor) => x.ref.mul(factor),
  maxPool: (x) => lax.reduceWindow(x.ref, np.max, [2, 2], [2, 2]),
  averagePool: (x) => np.mean(x.ref, [2, 3]),
  flatten: (x) => x.ref.reshape([x.shape[0] as number, -1]),
  linear: (x, weight, bias) => np.matmul(x.ref, weight.ref.transpose()).add(bias.ref),
  matmul: (left, right) => np.matmul(left.ref, right.ref),
  reshape: (x, shape) => x.ref.reshape([...shape]),
  transpose: (x, order) => x.ref.transpose([...order]),
  gather: (table, numbers) => np.matmul(nn.oneHot(numbers.ref, table.shape[0] as number), table.ref),
  meanTokens: (x) => np.mean(x.ref, 1),
  crossEntropy: (logits, labels) => {
    const wanted = nn.oneHot(labels.ref, logits.shape[1] as number);
    return np.mean(nn.logSoftmax(logits.ref, -1).mul(wanted).sum(1)).neg();
  },
};

function arrayOf(tensor: Tensor): Value {
  const values =
    tensor.dtype === 'int64' ? Int32Array.from(tensor.toFloat64Array()) : (tensor.data as Float32Array);
  return np.array(values, { shape: [...tensor.shape] } as never);
}

/** jax-js on WebAssembly, the only device it has in Node. */
export async function jaxJs(): Promise<Peer> {
  await init('wasm');
  defaultDevice('wasm');
  return {
    name: 'jax-js wasm',
    prepare: async ({ model, weights, input, labels, rate }) => {
      let own: Record<string, Value> = Object.fromEntries(
        Object.entries(weights).map(([name, tensor]) => [name, arrayOf(tensor)]),
      );
      const [x, label] = [arrayOf(input), arrayOf(labels)];
      const lossOf = (now: Record<string, Value>, image: Value, wanted: Value): Value =>
        ops.crossEntropy(logitsOf(model, ops, { weights: now, x: image }), wanted);
      const step = jit((now: Record<string, Value>, image: Value, wanted: Value) => {
        const [loss, gradients] = valueAndGrad(lossOf)(tree.ref(now), image, wanted);
        const next = tree.map(
          (weight: Value, gradient: Value) => weight.sub(gradient.mul(rate)),
          now,
          gradients as never,
        );
        return { loss, next };
      });
      return async () => {
        const { loss, next } = step(own as never, x.ref, label.ref) as {
          loss: Value;
          next: Record<string, Value>;
        };
        own = next;
        const [value] = await loss.data();
        return value ?? Number.NaN;
      };
    },
  };
}
