import { describe, expect, it } from 'vitest';
import { createRng } from '../context/rng.ts';
import { toFloat16Bits } from '../tensor/half.ts';
import { packNibbles } from '../tensor/packed4.ts';
import { Tensor } from '../tensor/tensor.ts';
import { agreement, topKAccuracy } from './classification.ts';
import { compareOutputs, createDrift } from './drift.ts';
import { cosineSimilarity, maxAbsError, maxRelative, sqnrDb } from './tensor-metrics.ts';
import { characterAccuracy, ctcGreedyDecode, editDistance } from './text.ts';

const f32 = (...values: number[]): Tensor =>
  Tensor.from('float32', [values.length], new Float32Array(values));
const f64 = (...values: number[]): Tensor =>
  Tensor.from('float64', [values.length], new Float64Array(values));
const rows = (shape: number[], values: number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));
const all = (expected: Tensor, actual: Tensor): number[] => [
  sqnrDb(expected, actual),
  cosineSimilarity(expected, actual),
  maxAbsError(expected, actual),
  maxRelative(expected, actual),
];
const { POSITIVE_INFINITY: inf, NEGATIVE_INFINITY: minusInf, NaN: nan } = Number;

describe('measures of difference', () => {
  it('agree with values worked out by hand', () => {
    // Signal 25, noise 0.25: 20 dB. Cosine (9 + 18) / (5 * sqrt(29.25)).
    const [sqnr, cosine, abs, relative] = all(f32(3, 4), f32(3, 4.5)) as [number, number, number, number];
    expect(sqnr).toBeCloseTo(20, 10);
    expect(cosine).toBeCloseTo(27 / (5 * Math.sqrt(29.25)), 12);
    expect(abs).toBe(0.5);
    expect(relative).toBe(0.125);
  });

  it('are perfect for equal tensors, NaN beside NaN and infinities included', () => {
    for (const tensor of [f32(1, nan, inf, minusInf, 0), f32(0, 0), f32(), f64(1e300, -1e300)]) {
      expect(all(tensor, tensor)).toEqual([inf, 1, 0, 0]);
    }
  });

  it('are the worst there is when a NaN or infinity stands on one side only', () => {
    for (const [expected, actual] of [
      [f32(1, 2), f32(1, nan)],
      [f32(1, nan), f32(1, 2)],
      [f32(1, 2), f32(1, inf)],
      [f32(1, inf), f32(1, minusInf)],
      [f32(1, nan), f32(1, inf)],
    ] as const) {
      expect(all(expected, actual)).toEqual([minusInf, 0, inf, inf]);
    }
  });

  it('know what zero means', () => {
    expect(all(f32(0, 0), f32(0, 1))).toEqual([minusInf, 0, 1, inf]);
    // As much noise as signal: 0 dB.
    expect(all(f32(0, 1), f32(0, 0))).toEqual([0, 0, 1, 1]);
    expect(cosineSimilarity(f32(1, -2), f32(-1, 2))).toBeCloseTo(-1, 12);
  });

  it('stay numbers where squares leave the range of float64', () => {
    expect(sqnrDb(f64(1e200, 0), f64(1e200, 1e190))).toBeCloseTo(200, 6);
    expect(sqnrDb(f64(1e-200, 0), f64(1e-200, 1e-210))).toBeCloseTo(200, 6);
    expect(cosineSimilarity(f64(1e200), f64(1e200 + 1e190))).toBe(0);
  });

  it('take any numeric dtype, and two that differ', () => {
    const half = Tensor.from('float16', [2], new Uint16Array([toFloat16Bits(3), toFloat16Bits(4.5)]));
    expect(maxAbsError(f32(3, 4), half)).toBe(0.5);
    const int4 = Tensor.from('int4', [3], packNibbles(new Int8Array([-8, 0, 7])));
    const int8 = Tensor.from('int8', [3], new Int8Array([-8, 1, 7]));
    expect(maxAbsError(int4, int8)).toBe(1);
    const bool = Tensor.from('bool', [2], new Uint8Array([1, 0]));
    expect(maxAbsError(bool, Tensor.from('bool', [2], new Uint8Array([1, 1])))).toBe(1);
    const complex = Tensor.from('complex64', [1], new Float32Array([1, 2]));
    expect(maxAbsError(complex, Tensor.from('complex64', [1], new Float32Array([1, 5])))).toBe(3);
    expect(() => maxAbsError(complex, f32(1))).toThrow(expect.objectContaining({ code: 'SHAPE_MISMATCH' }));
  });

  it('see a difference of one between 64-bit integers beyond 2^53', () => {
    const big = (value: bigint): Tensor => Tensor.from('int64', [1], new BigInt64Array([value]));
    expect(maxAbsError(big(2n ** 60n), big(2n ** 60n + 1n))).toBe(1);
    expect(maxAbsError(big(2n ** 60n), big(2n ** 60n))).toBe(0);
  });

  it('refuse other shapes and strings', () => {
    expect(() => sqnrDb(f32(1, 2), rows([1, 2], [1, 2]))).toThrow(
      expect.objectContaining({
        code: 'SHAPE_MISMATCH',
        message: 'Tensor "actual" has shape [1, 2], expected [2].',
      }),
    );
    const text = Tensor.from('string', [1], ['a']);
    expect(() => sqnrDb(text, text)).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }));
  });
});

describe('agreement and top-k accuracy', () => {
  it('compare the place of the largest element of each row', () => {
    expect(agreement(rows([2, 3], [1, 2, 3, 9, 1, 1]), rows([2, 3], [0, 0, 1, 0, 1, 0]))).toBe(0.5);
    expect(agreement(rows([2, 1, 2], [1, 2, 3, 1]), rows([2, 1, 2], [5, 6, 9, 8]))).toBe(1);
    expect(agreement(rows([0, 3], []), rows([0, 3], []))).toBe(1);
  });

  it('do not let a NaN agree with a number', () => {
    expect(agreement(rows([1, 3], [nan, 1, 2]), rows([1, 3], [5, 1, 2]))).toBe(0);
    expect(agreement(rows([1, 3], [nan, 1, 2]), rows([1, 3], [nan, 9, 2]))).toBe(1);
    expect(agreement(rows([1, 3], [nan, 1, 2]), rows([1, 3], [1, nan, 2]))).toBe(0);
  });

  it('count a label among the k largest scores', () => {
    const scores = rows([3, 4], [1, 2, 3, 4, 4, 3, 2, 1, 1, 4, 3, 2]);
    const labels = Tensor.from('int32', [3], new Int32Array([2, 0, 0]));
    expect(topKAccuracy(scores, labels)).toBeCloseTo(1 / 3, 12);
    expect(topKAccuracy(scores, labels, 2)).toBeCloseTo(2 / 3, 12);
    expect(topKAccuracy(scores, labels, 4)).toBe(1);
  });

  it('give nothing for constant scores or NaN', () => {
    const labels = Tensor.from('uint8', [2, 1], new Uint8Array([1, 2]));
    expect(topKAccuracy(rows([2, 3], [0, 0, 0, 0, 0, 0]), labels)).toBe(0);
    expect(topKAccuracy(rows([2, 3], [1, nan, 1, nan, 1, 2]), labels)).toBe(0);
  });

  it('refuse labels that are no classes', () => {
    const scores = rows([1, 2], [0, 1]);
    expect(() => topKAccuracy(scores, Tensor.from('int64', [1], new BigInt64Array([2n])))).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    expect(() => topKAccuracy(scores, f32(0))).toThrow(
      expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }),
    );
    expect(() => topKAccuracy(scores, Tensor.from('int64', [2], new BigInt64Array(2)))).toThrow(
      expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
    );
  });
});

describe('drift', () => {
  it('is the same fed at once or batch after batch', () => {
    const rng = createRng(5);
    const expected = Float32Array.from({ length: 60 }, () => rng.normal());
    const actual = expected.map((value) => value + 0.01 * rng.normal());
    const whole = compareOutputs({ y: rows([6, 10], [...expected]) }, { y: rows([6, 10], [...actual]) });
    const drift = createDrift();
    for (let row = 0; row < 6; row++) {
      const part = (values: Float32Array): Tensor =>
        rows([1, 10], [...values.subarray(row * 10, row * 10 + 10)]);
      drift.add({ y: part(expected) }, { y: part(actual) });
    }
    const streamed = drift.result();
    expect(streamed.sqnrDb).toBeCloseTo(whole.sqnrDb, 9);
    expect(streamed.cosine).toBeCloseTo(whole.cosine, 12);
    expect(streamed.maxAbs).toBe(whole.maxAbs);
    expect(streamed.maxRelative).toBe(whole.maxRelative);
    expect(streamed.top1Agreement).toBe(whole.top1Agreement);
    expect([streamed.samples, whole.samples]).toEqual([6, 1]);
  });

  it('takes the worst output for each measure, and keeps them apart', () => {
    const drift = compareOutputs({ a: f32(3, 4), b: f32(100) }, { a: f32(3, 4.5), b: f32(101) });
    expect(drift.maxAbs).toBe(1);
    expect(drift.maxRelative).toBe(0.125);
    expect(drift.sqnrDb).toBeCloseTo(20, 10);
    expect(drift.outputs['b']?.sqnrDb).toBeCloseTo(40, 10);
  });

  it('gives top-1 agreement for class scores only', () => {
    expect(
      compareOutputs({ y: rows([2, 2], [0, 1, 1, 0]) }, { y: rows([2, 2], [0, 1, 0, 1]) }).top1Agreement,
    ).toBe(0.5);
    for (const shape of [[4], [4, 1], [2, 2, 1]]) {
      const y = rows(shape, [0, 1, 1, 0]);
      expect(compareOutputs({ y }, { y })).not.toHaveProperty('top1Agreement');
    }
    const ids = Tensor.from('int64', [2, 2], new BigInt64Array(4));
    expect(compareOutputs({ ids }, { ids })).not.toHaveProperty('top1Agreement');
  });

  it('compares strings for equality', () => {
    const text = (value: string): Tensor => Tensor.from('string', [1], [value]);
    expect(compareOutputs({ t: text('a') }, { t: text('a') })).toMatchObject({
      sqnrDb: inf,
      cosine: 1,
      maxAbs: 0,
    });
    expect(compareOutputs({ t: text('a') }, { t: text('b') })).toMatchObject({
      sqnrDb: minusInf,
      maxAbs: inf,
    });
  });

  it('refuses outputs that are missing, and names them', () => {
    expect(() => compareOutputs({ toString: f32(1) }, {})).toThrow(
      expect.objectContaining({ code: 'SHAPE_MISMATCH', message: 'Tensor "toString" is missing.' }),
    );
  });
});

describe('text metrics', () => {
  it('decode the best path: repeats merged, blanks dropped, doubles kept apart by a blank', () => {
    const steps = [2, 2, 0, 2, 1, 1, 0];
    const scores = Tensor.from(
      'float32',
      [1, 7, 3],
      Float32Array.from(steps.flatMap((best) => [0, 1, 2].map((index) => (index === best ? 1 : 0)))),
    );
    expect(ctcGreedyDecode(scores)).toEqual([[2, 2, 1]]);
    expect(ctcGreedyDecode(scores, { blank: 2 })).toEqual([[0, 1, 0]]);
    expect(() => ctcGreedyDecode(f32(1))).toThrow(expect.objectContaining({ code: 'SHAPE_MISMATCH' }));
    expect(() => ctcGreedyDecode(scores, { blank: 3 })).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });

  it('count edits', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('flaw', 'lawn')).toBe(2);
    expect(editDistance('😀a', '😀b')).toBe(1);
    expect(editDistance([1, 2, 3], [1, 3])).toBe(1);
  });

  it('weigh errors over all texts by their length', () => {
    expect(characterAccuracy(['abcd', 'ef'], ['abcx', 'ef'])).toBeCloseTo(5 / 6, 12);
    expect(characterAccuracy([''], [''])).toBe(1);
    expect(characterAccuracy([''], ['x'])).toBe(0);
    expect(characterAccuracy(['a'], ['xyz'])).toBe(0);
    expect(() => characterAccuracy(['a'], [])).toThrow(expect.objectContaining({ code: 'SHAPE_MISMATCH' }));
  });
});

describe('what is known about outputs', () => {
  const row = (...values: number[]): Tensor => Tensor.from('float32', [1, 2, 2], Float32Array.from(values));

  it('compares noise with the magnitude an output is known to reach', () => {
    const expected = { y: row(1e-4, 0, 0, 0) };
    const actual = { y: row(0, 1e-4, 0, 0) };
    // Noise is sqrt(2) times the signal: -3.01 dB by itself.
    expect(compareOutputs(expected, actual).sqnrDb).toBeCloseTo(-3.0103, 3);
    // Against 0.1 in every element: 10 log10(4 * 0.01 / (2 * 1e-8)).
    expect(compareOutputs(expected, actual, { floors: { y: 0.1 } }).sqnrDb).toBeCloseTo(63.0103, 3);
  });

  it('counts agreement along the last axis of outputs that are said to hold scores', () => {
    const expected = { y: row(1, 2, 3, 0) };
    const actual = { y: row(1, 2, 0, 3) };
    expect(compareOutputs(expected, actual).top1Agreement).toBeUndefined();
    expect(compareOutputs(expected, actual, { scores: ['y'] })).toMatchObject({
      top1Agreement: 0.5,
      rows: 2,
    });
  });
});
