import type { Model, PassStep } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  awq,
  foldableWeights,
  type InputMoments,
  roundToNearest,
  type WeightAlgorithm,
  weightOnly,
} from '@lithe/quantization';
import { expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

const backend = referenceBackend();

/** Two layers with biases, as `Gemm`, and a rectifier between them. */
function perceptron(): Model {
  const n = net();
  const hidden = n.add('Gemm', [n.input('x', ['rows', 64]), n.weight([64, 64]), n.weight([64], 1)]);
  return n.model(n.add('Gemm', [n.add('Relu', [hidden]), n.weight([64, 32]), n.weight([32])]));
}

/** Signal to noise on inputs that were not seen, when `rows` were. */
async function quality(step: PassStep, rows: number): Promise<number> {
  const model = perceptron();
  const context = contextOf({ backend, data: fixedData([{ x: normal([rows, 64], 1) }]) });
  const { model: small, report } = await apply(model, step, context);
  if (step.name.endsWith('weight-only')) expect(report.applied.join()).toContain('what it is computed from');
  const unseen = { x: normal([500, 64], 1000) };
  return sqnr(await runModel(model, unseen), await runModel(small, unseen));
}

it.each([
  ['blocks of the runtime', weightOnly({ bits: 8, accuracyLevel: 1, algorithm: 'awq' })],
  ['the standard format', weightOnly({ bits: 8, format: 'dequantize-linear', algorithm: 'awq' })],
  ['weights that fold', foldableWeights({ algorithm: 'awq' })],
])('what a layer is divided by goes into its bias as well, in %s', async (_, step) => {
  // Both layers in 8 bits; a bias left as it was costs 25 dB.
  expect(await quality(step, 256)).toBeGreaterThan(40);
});

it('what is rounded after scaling is judged on inputs divided by the same factors, one product after the other', async () => {
  const factorOf = (_: unknown, channel: number): number => 2 ** ((channel % 5) - 2);
  const observed = async (sequential: boolean, scales: boolean): Promise<Map<number, InputMoments>> => {
    const seen = new Map<number, InputMoments>();
    const algorithm: WeightAlgorithm = {
      name: 'test/observer',
      settings: {},
      needs: 'input-moments',
      sequential,
      scaleInputs: ({ moments }) =>
        Promise.resolve(scales ? Float32Array.from(moments.meanMagnitude, factorOf) : undefined),
      quantize: (matrix, tools) => {
        if (matrix.moments !== undefined) seen.set(matrix.outputs, matrix.moments);
        return roundToNearest().quantize(matrix, tools);
      },
    };
    const n = net();
    const hidden = n.add('Tanh', [n.add('MatMul', [n.input('x', ['rows', 64]), n.weight([64, 48])])]);
    const model = n.model(n.add('MatMul', [hidden, n.weight([48, 32])]));
    const data = fixedData([{ x: normal([100, 64], 3, 0.5) }]);
    await apply(model, weightOnly({ bits: 8, algorithm }), contextOf({ backend, data }));
    return seen;
  };
  const plain = await observed(false, false);
  for (const sequential of [false, true]) {
    const scaled = await observed(sequential, true);
    for (const outputs of [48, 32]) {
      const { inputs, hessian } = plain.get(outputs) as InputMoments;
      const found = scaled.get(outputs) as InputMoments;
      const largest = Math.max(...hessian);
      for (let at = 0; at < hessian.length; at += 7) {
        const factors = factorOf(0, Math.floor(at / inputs)) * factorOf(0, at % inputs);
        expect(Math.abs(found.hessian[at]! * factors - hessian[at]!)).toBeLessThan(0.02 * largest);
      }
    }
  }
});

it('channels that the data never show keep their weights', async () => {
  const nearest = weightOnly({ accuracyLevel: 1, algorithm: 'rtn' });
  const model = perceptron();
  const { model: small } = await apply(model, nearest);
  const unseen = { x: normal([500, 64], 1000) };
  const plain = sqnr(await runModel(model, unseen), await runModel(small, unseen));
  // After one row, half of the rectified channels were never seen; their precision must not go to the others.
  expect(await quality(weightOnly({ accuracyLevel: 1, algorithm: awq() }), 1)).toBeGreaterThan(plain - 3);
});
