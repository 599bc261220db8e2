import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { integerRange } from '../parameters/integer-range.ts';
import { dequantizeGroups } from '../parameters/kernels.ts';
import { plainTools } from '../weights/error-tool.ts';
import { awq } from './awq.ts';
import { blocksOf } from './block-scales.ts';
import { gptq } from './gptq.ts';
import { hqq } from './hqq.ts';
import { quadraticError } from './quadratic-error.ts';
import { roundToNearest } from './round-to-nearest.ts';
import type { InputMoments, QuantizedMatrix, WeightAlgorithm, WeightMatrix } from './weight-algorithm.ts';

const tools = plainTools(new AbortController().signal);

/** Rows of activations in which channels hang together, as those of real networks do. */
function activations(rows: number, inputs: number, seed: number): Float64Array {
  const rng = createRng(seed);
  const factors = Math.max(1, inputs >> 2);
  const mixing = Float64Array.from({ length: factors * inputs }, () => rng.normal());
  const out = new Float64Array(rows * inputs);
  for (let row = 0; row < rows; row++) {
    const hidden = Float64Array.from({ length: factors }, () => rng.normal());
    for (let channel = 0; channel < inputs; channel++) {
      let sum = 0.3 * rng.normal();
      for (let at = 0; at < factors; at++) sum += hidden[at]! * mixing[at * inputs + channel]!;
      out[row * inputs + channel] = sum;
    }
  }
  return out;
}

function momentsOf(data: Float64Array, inputs: number): InputMoments {
  const rows = data.length / inputs;
  const hessian = new Float64Array(inputs * inputs);
  const meanMagnitude = new Float64Array(inputs);
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < inputs; i++) {
      meanMagnitude[i]! += Math.abs(data[row * inputs + i]!) / rows;
      for (let j = 0; j < inputs; j++)
        hessian[i * inputs + j]! += (2 / rows) * data[row * inputs + i]! * data[row * inputs + j]!;
    }
  return { inputs, rows, hessian, meanMagnitude };
}

function matrixOf(outputs: number, inputs: number, options: Partial<WeightMatrix> = {}): WeightMatrix {
  const rng = createRng(9);
  return {
    data: Float32Array.from({ length: outputs * inputs }, () => rng.normal() * (rng.next() < 0.02 ? 5 : 1)),
    outputs,
    inputs,
    blockSize: 32,
    range: integerRange('uint4'),
    scheme: 'extreme',
    what: 'w',
    ...options,
  };
}

function restored(matrix: WeightMatrix, found: QuantizedMatrix): Float32Array {
  return dequantizeGroups(found.levels, blocksOf(matrix), found.parameters);
}

function changeOf(matrix: WeightMatrix, found: QuantizedMatrix): Float32Array {
  return restored(matrix, found).map((value, index) => value - matrix.data[index]!);
}

/** Mean squared error of the products, multiplied out on the activations themselves. */
function productError(matrix: WeightMatrix, found: QuantizedMatrix, data: Float64Array): number {
  const change = changeOf(matrix, found);
  const { inputs, outputs } = matrix;
  let sum = 0;
  for (let row = 0; row < data.length / inputs; row++)
    for (let output = 0; output < outputs; output++) {
      let error = 0;
      for (let i = 0; i < inputs; i++) error += data[row * inputs + i]! * change[output * inputs + i]!;
      sum += error * error;
    }
  return (2 * sum * inputs) / data.length;
}

const power = (change: Float32Array, p: number): number =>
  change.reduce((sum, value) => sum + Math.abs(value) ** p, 0);

describe('the error of products', () => {
  it('is that of the activations multiplied out', () => {
    const data = activations(50, 37, 1);
    const matrix = matrixOf(6, 37);
    const moments = momentsOf(data, 37);
    const found = roundToNearest().quantize(matrix, tools) as QuantizedMatrix;
    const errors = quadraticError(changeOf(matrix, found), moments);
    expect(errors).toHaveLength(6);
    const total = errors.reduce((sum, error) => sum + error, 0);
    expect(total / productError(matrix, found, data)).toBeCloseTo(1, 5);
  });
});

describe('rounding to nearest', () => {
  it('with searched scales has no larger squared error in any block', () => {
    for (const scheme of ['extreme', 'asymmetric', 'symmetric'] as const) {
      const matrix = matrixOf(16, 80, { scheme });
      const plain = changeOf(matrix, roundToNearest().quantize(matrix, tools) as QuantizedMatrix);
      const searched = changeOf(
        matrix,
        roundToNearest({ scales: 'search' }).quantize(matrix, tools) as QuantizedMatrix,
      );
      for (let row = 0; row < 16; row++)
        for (let first = 0; first < 80; first += 32) {
          const at = [row * 80 + first, row * 80 + Math.min(80, first + 32)] as const;
          expect(power(searched.subarray(...at), 2)).toBeLessThanOrEqual(
            power(plain.subarray(...at), 2) * (1 + 1e-6),
          );
        }
      expect(power(searched, 2)).toBeLessThan(power(plain, 2) * 0.97);
    }
  });
});

describe('half-quadratic quantization', () => {
  it('has no larger absolute error than rounding to nearest in any block, and a smaller one in its norm', () => {
    for (const scheme of ['extreme', 'asymmetric'] as const) {
      const matrix = matrixOf(24, 96, { scheme });
      const plain = changeOf(matrix, roundToNearest().quantize(matrix, tools) as QuantizedMatrix);
      const found = changeOf(matrix, hqq().quantize(matrix, tools) as QuantizedMatrix);
      for (let first = 0; first < plain.length; first += 32) {
        const at = [first, first + 32] as const;
        expect(power(found.subarray(...at), 1)).toBeLessThan(power(plain.subarray(...at), 1) * (1 + 1e-6));
      }
      expect(power(found, 0.7)).toBeLessThan(power(plain, 0.7) * 0.99);
    }
  });

  it('does not depend on the magnitude of the weights', () => {
    const matrix = matrixOf(8, 64, { scheme: 'asymmetric' });
    const small = { ...matrix, data: matrix.data.map((value) => value / 1024) };
    expect((hqq().quantize(small, tools) as QuantizedMatrix).levels).toEqual(
      (hqq().quantize(matrix, tools) as QuantizedMatrix).levels,
    );
  });

  it('refuses options outside their ranges', () => {
    for (const options of [{ norm: 0 }, { norm: 1.1 }, { beta: 0 }, { kappa: 0.5 }, { iterations: 0 }])
      expect(() => hqq(options)).toThrow(expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }));
  });
});

/**
 * Optimal brain quantization with the paper's formulas, one weight at a time and the inverse updated by elimination:
 * `q = quant(w_i)`, `w -= (w_i - q) / [H^-1]_ii [H^-1]_i`, `H^-1 -= [H^-1]_:i [H^-1]_i: / [H^-1]_ii`.
 */
function eliminate(
  row: Float64Array,
  damped: Float64Array,
  round: (value: number, at: number, weights: Float64Array) => number,
): Float64Array {
  const size = row.length;
  // Inverse by Gauss-Jordan.
  const work = damped.slice();
  const inverse = new Float64Array(size * size);
  for (let i = 0; i < size; i++) inverse[i * size + i] = 1;
  for (let p = 0; p < size; p++) {
    const pivot = work[p * size + p]!;
    for (let c = 0; c < size; c++) {
      work[p * size + c]! /= pivot;
      inverse[p * size + c]! /= pivot;
    }
    for (let r = 0; r < size; r++) {
      if (r === p) continue;
      const factor = work[r * size + p]!;
      for (let c = 0; c < size; c++) {
        work[r * size + c]! -= factor * work[p * size + c]!;
        inverse[r * size + c]! -= factor * inverse[p * size + c]!;
      }
    }
  }
  const weights = row.slice();
  const out = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    const diagonal = inverse[i * size + i]!;
    out[i] = round(weights[i]!, i, weights);
    const error = (weights[i]! - out[i]!) / diagonal;
    const line = inverse.slice(i * size, (i + 1) * size);
    for (let j = i; j < size; j++) weights[j]! -= error * line[j]!;
    for (let r = 0; r < size; r++)
      for (let c = 0; c < size; c++) inverse[r * size + c]! -= (line[r]! * line[c]!) / diagonal;
  }
  return out;
}

describe('GPTQ', () => {
  const cases: readonly (readonly [string, Partial<WeightMatrix>, WeightAlgorithm])[] = [
    ['symmetric blocks', {}, gptq()],
    ['asymmetric blocks', { scheme: 'asymmetric' }, gptq()],
    ['8 bits', { range: integerRange('uint8') }, gptq()],
    ['channels in stored order', {}, gptq({ order: 'stored', scales: 'range' })],
    ['searched scales in stored order', { scheme: 'asymmetric' }, gptq({ order: 'stored' })],
    ['scales of whole ranges', {}, gptq({ scales: 'range' })],
    ['sums that blocks do not divide, longer than a run of columns', { inputs: 300 }, gptq()],
  ];
  for (const [name, options, algorithm] of cases) {
    it(`has a smaller error of the products than rounding to nearest: ${name}`, async () => {
      const inputs = options.inputs ?? 96;
      const data = activations(2 * inputs, inputs, 4);
      const matrix = matrixOf(20, inputs, { ...options, moments: momentsOf(data, inputs) });
      const found = await algorithm.quantize(matrix, tools);
      const nearest = await roundToNearest().quantize(matrix, tools);
      const [own, theirs] = [productError(matrix, found, data), productError(matrix, nearest, data)];
      expect(own).toBeLessThan(0.7 * theirs);
      // What it says of itself is what multiplying out says.
      expect((found.error?.own ?? 0) / own).toBeCloseTo(1, 2);
      expect((found.error?.roundToNearest ?? 0) / theirs).toBeCloseTo(1, 2);
      // And row by row it is never worse.
      const moments = matrix.moments as InputMoments;
      const rows = quadraticError(changeOf(matrix, found), moments);
      const others = quadraticError(changeOf(matrix, nearest), moments);
      rows.forEach((error, row) => {
        expect(error).toBeLessThanOrEqual(others[row]! * (1 + 1e-6));
      });
    });
  }

  it('rounds as the elimination of the paper does, one weight after the other', async () => {
    const inputs = 12;
    const data = activations(40, inputs, 8);
    const moments = momentsOf(data, inputs);
    const matrix = matrixOf(5, inputs, { blockSize: 16, moments, scheme: 'symmetric' });
    const found = await gptq({ damping: 0.01, order: 'stored', scales: 'range' }).quantize(matrix, tools);
    const mean =
      moments.hessian.reduce((sum, value, at) => sum + (at % (inputs + 1) === 0 ? value : 0), 0) / inputs;
    const damped = moments.hessian.map((value, at) => value + (at % (inputs + 1) === 0 ? 0.01 * mean : 0));
    const own = restored(matrix, found);
    let same = 0;
    for (let row = 0; row < 5; row++) {
      const scale = found.parameters.scales[row]!;
      const expected = eliminate(
        Float64Array.from(matrix.data.subarray(row * inputs, (row + 1) * inputs)),
        damped,
        (value) => Math.min(7, Math.max(-8, Math.round(value / scale))) * scale,
      );
      if (expected.every((value, at) => Math.abs(value - own[row * inputs + at]!) < 1e-5)) same++;
    }
    // A row that rounding to nearest does better is rounded to nearest.
    expect(same).toBeGreaterThanOrEqual(4);
  });

  it('finds the scale of a block from weights as they are by then, also where blocks do not divide a run of columns', async () => {
    const inputs = 192;
    const data = activations(400, inputs, 8);
    const moments = momentsOf(data, inputs);
    const matrix = matrixOf(6, inputs, { blockSize: 96, moments, scheme: 'symmetric' });
    const found = await gptq({ damping: 0.01, order: 'stored', scales: 'range' }).quantize(matrix, tools);
    let mean = 0;
    for (let at = 0; at < inputs; at++) mean += moments.hessian[at * (inputs + 1)]! / inputs;
    const damped = moments.hessian.map((value, at) => value + (at % (inputs + 1) === 0 ? 0.01 * mean : 0));
    for (let row = 0; row < 6; row++) {
      const scales: number[] = [];
      eliminate(
        Float64Array.from(matrix.data.subarray(row * inputs, (row + 1) * inputs)),
        damped,
        (value, at, weights) => {
          if (at % 96 === 0) scales.push(Math.max(...weights.slice(at, at + 96).map(Math.abs)) / 7.5);
          const scale = scales.at(-1) ?? 1;
          return Math.min(7, Math.max(-8, Math.round(value / scale))) * scale;
        },
      );
      scales.forEach((scale, block) => {
        expect(found.parameters.scales[2 * row + block]! / scale).toBeCloseTo(1, 4);
      });
    }
  });

  it('comes close to the best of all integers, found by trying all', async () => {
    const inputs = 6;
    const data = activations(60, inputs, 2);
    const matrix = matrixOf(12, inputs, {
      blockSize: 16,
      moments: momentsOf(data, inputs),
      range: { dtype: 'int4', low: -1, high: 1 },
      scheme: 'symmetric',
    });
    const found = await gptq().quantize(matrix, tools);
    let best = 0;
    for (let row = 0; row < 12; row++) {
      const scale = found.parameters.scales[row]!;
      let least = Number.POSITIVE_INFINITY;
      for (let code = 0; code < 3 ** inputs; code++) {
        const change = Float32Array.from(
          { length: inputs },
          (_, at) => ((Math.floor(code / 3 ** at) % 3) - 1) * scale - matrix.data[row * inputs + at]!,
        );
        least = Math.min(least, quadraticError(change, matrix.moments as InputMoments)[0]!);
      }
      best += least;
    }
    const nearest = await roundToNearest().quantize(matrix, tools);
    const own = found.error?.own ?? Number.NaN;
    expect(own).toBeGreaterThanOrEqual(best * (1 - 1e-6));
    // It closes most of the gap between rounding to nearest and the best.
    const theirs = productError(matrix, nearest, data);
    expect(own - best).toBeLessThan(0.5 * (theirs - best));
  });

  it('raises the damping and says so when there are fewer rows than channels', async () => {
    const matrix = matrixOf(4, 64, { moments: momentsOf(activations(16, 64, 3), 64) });
    const { notes } = await gptq().quantize(matrix, tools);
    expect(notes).toEqual(['The data gave w 16 rows for sums of 64; damping was raised to 0.04.']);
  });

  it('keeps the weights of channels that were always zero', async () => {
    const data = activations(200, 32, 3);
    for (let row = 0; row < 200; row++) data[row * 32 + 5] = 0;
    const matrix = matrixOf(6, 32, { moments: momentsOf(data, 32) });
    const own = restored(matrix, await gptq().quantize(matrix, tools));
    for (let row = 0; row < 6; row++) {
      const at = row * 32 + 5;
      expect(Math.abs(own[at]! - matrix.data[at]!)).toBeLessThan(2);
    }
  });

  it('needs moments, and a damping above 0', () => {
    expect(() => gptq({ damping: 0 })).toThrow(expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }));
    expect(() => gptq().quantize(matrixOf(2, 32), tools)).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });

  it('stops when it is told to', async () => {
    const matrix = matrixOf(4, 64, { moments: momentsOf(activations(80, 64, 3), 64) });
    await expect((async () => gptq().quantize(matrix, plainTools(AbortSignal.abort())))()).rejects.toThrow(
      /abort/i,
    );
  });
});

describe('AWQ', () => {
  it('finds factors that lower the error of the products where few channels are large', async () => {
    const inputs = 64;
    const data = activations(256, inputs, 6);
    for (let at = 0; at < data.length; at++) if (at % inputs < 3) data[at]! *= 30;
    const moments = momentsOf(data, inputs);
    const matrix = matrixOf(24, inputs, { moments });
    const factors = await awq().scaleInputs?.({ matrices: [matrix], moments }, tools);
    expect(factors).toHaveLength(inputs);
    const large = factors?.slice(0, 3) ?? new Float32Array(3);
    expect(Math.min(...large)).toBeGreaterThan(2 * Math.max(...(factors?.slice(3) ?? [])));
    const multiplied = matrix.data.map((value, at) => value * (factors?.[at % inputs] ?? 1));
    const found = await roundToNearest().quantize({ ...matrix, data: multiplied }, tools);
    const change = restored(matrix, found).map(
      (value, at) => value / (factors?.[at % inputs] ?? 1) - matrix.data[at]!,
    );
    const sum = (errors: Float64Array): number => errors.reduce((total, error) => total + error, 0);
    const nearest = changeOf(matrix, await roundToNearest().quantize(matrix, tools));
    expect(sum(quadraticError(change, moments))).toBeLessThan(0.8 * sum(quadraticError(nearest, moments)));
  });

  it('leaves products alone when no factors help', async () => {
    const inputs = 32;
    const rng = createRng(1);
    const even = Float64Array.from({ length: 512 * inputs }, () => rng.normal());
    const moments = momentsOf(even, inputs);
    const matrix = matrixOf(16, inputs, { moments });
    expect(await awq().scaleInputs?.({ matrices: [matrix], moments }, tools)).toBeUndefined();
  });

  it('refuses a grid without steps', () => {
    expect(() => awq({ gridSteps: 0 })).toThrow(expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }));
  });
});
