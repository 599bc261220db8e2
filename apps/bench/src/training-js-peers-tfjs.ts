import { createRequire } from 'node:module';
import path from 'node:path';
import type { Tensor as LitheTensor } from '@lithe/core';
import * as tf from '@tensorflow/tfjs';
import { logitsOf, type Peer, type PeerOps } from './training-js-peers-models.ts';

const EPSILON = 1e-5;

/** Images lie in memory as `[N, H, W, C]`, the only layout of these backends. */
const ops: PeerOps<tf.Tensor> = {
  // Rows are added on both sides, as the other libraries do; 'same' with a stride adds them behind.
  conv: (x, weight, stride) =>
    tf.conv2d(x as tf.Tensor4D, weight as tf.Tensor4D, stride, weight.shape[0] === 1 ? 0 : 1),
  bias: (x, bias) => tf.add(x, bias),
  batchNorm: (x, scale, bias) => {
    const { mean, variance } = tf.moments(x, [0, 1, 2]);
    return tf.batchNorm(
      x,
      mean as tf.Tensor1D,
      variance as tf.Tensor1D,
      bias as tf.Tensor1D,
      scale as tf.Tensor1D,
      EPSILON,
    );
  },
  layerNorm: (x, scale, bias) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, EPSILON))), scale), bias);
  },
  relu: (x) => tf.relu(x),
  gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  softmax: (x) => tf.softmax(x),
  add: (left, right) => tf.add(left, right),
  scale: (x, factor) => tf.mul(x, factor),
  maxPool: (x) => tf.maxPool(x as tf.Tensor4D, 2, 2, 0),
  averagePool: (x) => tf.mean(x, [1, 2]),
  flatten: (x) => tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [x.shape[0] as number, -1]),
  linear: (x, weight, bias) => tf.add(tf.matMul(x, weight, false, true), bias),
  matmul: (left, right, shared) => {
    if (!shared) return tf.matMul(left, right);
    const width = left.shape.at(-1) as number;
    const flat = tf.matMul(tf.reshape(left, [-1, width]), right as tf.Tensor2D);
    return tf.reshape(flat, [...left.shape.slice(0, -1), right.shape[1] as number]);
  },
  reshape: (x, shape) => tf.reshape(x, [...shape]),
  transpose: (x, order) => tf.transpose(x, [...order]),
  gather: (table, numbers) => tf.gather(table, numbers as tf.Tensor2D),
  meanTokens: (x) => tf.mean(x, 1),
  crossEntropy: (logits, labels) => {
    const wanted = tf.oneHot(labels as tf.Tensor1D, logits.shape[1] as number);
    return tf.neg(tf.mean(tf.sum(tf.mul(wanted, tf.logSoftmax(logits as tf.Tensor2D)), 1)));
  },
};

function tensorOf(tensor: LitheTensor): tf.Tensor {
  const values =
    tensor.dtype === 'int64' ? Int32Array.from(tensor.toFloat64Array()) : (tensor.data as Float32Array);
  const made = tf.tensor(values, [...tensor.shape], tensor.dtype === 'int64' ? 'int32' : 'float32');
  if (tensor.shape.length !== 4) return made;
  return made;
}

/** TensorFlow.js on one of its backends for processors. */
export async function tfjs(backend: 'cpu' | 'wasm', threads: number): Promise<Peer> {
  if (backend === 'wasm') {
    const wasm = await import('@tensorflow/tfjs-backend-wasm');
    const file = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
    wasm.setWasmPaths(`${path.dirname(file)}/`);
    wasm.setThreadsCount(threads);
  }
  return {
    name: `tfjs ${backend}`,
    prepare: async ({ model, weights, input, labels, rate }) => {
      await tf.setBackend(backend);
      await tf.ready();
      const variables = Object.fromEntries(
        Object.entries(weights).map(([name, tensor]) => {
          const made = tensorOf(tensor);
          const own = tensor.shape.length === 4 ? tf.transpose(made, [2, 3, 1, 0]) : made;
          return [name, tf.variable(own)];
        }),
      );
      const given = tensorOf(input);
      const x = input.shape.length === 4 ? tf.transpose(given, [0, 2, 3, 1]) : given;
      const label = tensorOf(labels);
      const optimizer = tf.train.sgd(rate);
      return async () => {
        await tf.setBackend(backend);
        const loss = optimizer.minimize(
          () => ops.crossEntropy(logitsOf(model, ops, { weights: variables, x }), label) as tf.Scalar,
          true,
        );
        const [value] = (await loss?.data()) ?? [];
        loss?.dispose();
        return value ?? Number.NaN;
      };
    },
  };
}
