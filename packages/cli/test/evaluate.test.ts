import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createRng, GraphBuilder, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { saveOnnx } from '@lithe/onnx/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe } from './lithe.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lithe-evaluate-'));
const at = (name: string): string => path.join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [model, data] = [at('model.onnx'), at('data.npz')];
const floats = (shape: readonly number[], of: (index: number) => number): Tensor => {
  const size = shape.reduce((left, right) => left * right, 1);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, (_, index) => of(index)),
  );
};

/** The second output is the input itself, by way of 64 units, and the first its opposite. */
beforeAll(async () => {
  const b = new GraphBuilder('two');
  const x = b.input('x', 'float32', ['N', 4]);
  const into = floats([4, 64], (index) => (Math.floor((index % 64) / 16) === Math.floor(index / 64) ? 1 : 0));
  const out = floats([64, 4], (index) => (Math.floor(index / 64) === index % 4 ? 1 / 16 : 0));
  const scores = b.op.MatMul([b.op.Relu([b.op.MatMul([x, into])]), out]);
  b.output('opposite', b.op.Neg([scores]));
  b.output('scores', scores);
  await saveOnnx(await b.build(), model);
  const rng = createRng(3);
  const inputs = floats([32, 4], () => rng.next());
  const values = inputs.data as Float32Array;
  const kinds = Array.from({ length: 32 }, (_, row) => {
    const own = [...values.subarray(4 * row, 4 * row + 4)];
    return BigInt(own.indexOf(Math.max(...own)));
  });
  const kind = Tensor.from('int64', [32], BigInt64Array.from(kinds));
  writeFileSync(data, writeNpz({ x: inputs, kind }));
});

const named = ['--evaluate', data, '--metric-output', 'scores', '--metric-label', 'kind'];
const accuracyOf = (out: string): unknown =>
  (JSON.parse(out) as { accuracy: { before: number } | null }).accuracy?.before;

describe('the accuracy', () => {
  it.each([
    ['verify', [model, model, '--data', data]],
    ['compress', [model, '--calibrate', data, '-o', at('small.onnx')]],
    ['prune', [model, '--calibrate', data, '--ratio', '0.1', '-o', at('pruned.onnx')]],
  ])('compares the output and the array that are named: %s', async (command, args) => {
    const call = await lithe(command, ...args, ...named, '--rounds', '6', '--json');
    expect(call.code, call.err).toBe(0);
    expect(accuracyOf(call.out)).toBe(1);
  });

  it('compares the first output where none is named', async () => {
    const args = [model, model, '--data', data, '--evaluate', data, '--metric-label', 'kind'];
    const call = await lithe('verify', ...args, '--rounds', '6', '--json');
    expect(accuracyOf(call.out)).toBeLessThan(0.5);
  });

  it.each([
    [1, ['--evaluate', data], 'It has "kind"; --metric-label says which holds the classes.'],
    [1, ['--evaluate', data, '--metric-label', 'sort'], 'it has no array "sort"'],
    [2, ['--evaluate', data, '--metric-output', 'y'], 'no output of the model. It has "opposite", "scores".'],
    [2, ['--metric-output', 'scores'], 'give labelled inputs'],
  ])('ends with code %d when it cannot be taken: %j', async (code, args, says) => {
    const call = await lithe('verify', model, model, '--data', data, ...args);
    expect(call).toMatchObject({ code, out: '' });
    expect(call.err).toContain(says);
  });
});
