import { describe, expect, it } from 'vitest';
import { isLitheError } from '../errors/lithe-error.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import { Tensor } from '../tensor/tensor.ts';
import { referenceBackend } from './reference-backend.ts';

const f32 = (...values: number[]): Tensor =>
  Tensor.from('float32', [values.length], new Float32Array(values));

const codeOf = async (running: Promise<unknown>): Promise<string> => {
  const error: unknown = await running.catch((thrown: unknown) => thrown);
  return isLitheError(error) ? error.code : String(error);
};

/** `next = total + x`, `y = next * 2`: a running sum. */
function runningSum(): Model {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', [1]));
  const total = graph.addInput('total', tensorType('float32', [1]));
  const next = graph.addNode({ opType: 'Add', inputs: [total, x] }, [{ name: 'next' }]).output(0);
  const two = graph.addInitializer('two', f32(2));
  const y = graph.addNode({ opType: 'Mul', inputs: [next, two] }, [{ name: 'y' }]).output(0);
  graph.setOutputs([y, next]);
  return new Model({ graph });
}

const state = [{ input: 'total', output: 'next', initial: f32(10) }];

describe('referenceBackend', () => {
  it('keeps state between runs, out of sight of feeds and results', async () => {
    const backend = referenceBackend();
    const compiled = await backend.compile(runningSum(), { state });
    expect(compiled.inputNames).toEqual(['x']);
    expect(compiled.outputNames).toEqual(['y']);
    expect(await compiled.run({ x: f32(1) })).toMatchObject({ y: { data: f32(22).data } });
    expect(await compiled.run({ x: f32(2) })).toMatchObject({ y: { data: f32(26).data } });
    expect((await compiled.readState())['total']?.data).toEqual(f32(13).data);
    await compiled.writeState({ total: f32(0) });
    expect(Object.keys(await compiled.run({ x: f32(5) }))).toEqual(['y']);
    expect((await compiled.readState(['total']))['total']?.data).toEqual(f32(5).data);
    await backend.dispose();
  });

  it('leaves state as it was when a run fails', async () => {
    await using backend = referenceBackend();
    const compiled = await backend.compile(runningSum(), { state });
    expect(await codeOf(compiled.run({ x: f32(1, 2) }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(compiled.run({ x: f32(1), total: f32(1) }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(compiled.writeState({ total: f32(1, 2) }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(compiled.readState(['none']))).toBe('OPTIONS_INVALID');
    expect((await compiled.readState())['total']?.data).toEqual(f32(10).data);
  });

  it('counts what it holds, and frees it', async () => {
    const backend = referenceBackend();
    expect(backend.stats()).toEqual({ executables: 0, liveTensors: 0, liveBytes: 0 });
    const compiled = await backend.compile(runningSum(), { state });
    expect(backend.stats()).toMatchObject({ executables: 1, liveTensors: 1, liveBytes: 4 });
    await compiled.dispose();
    await compiled.dispose();
    expect(backend.stats()).toEqual({ executables: 0, liveTensors: 0, liveBytes: 0 });
    expect(await codeOf(compiled.run({ x: f32(1) }))).toBe('DISPOSED');
    await backend.dispose();
    expect(await codeOf(backend.compile(runningSum()))).toBe('DISPOSED');
  });

  it('refuses what it cannot run', async () => {
    await using backend = referenceBackend();
    const graph = new Graph();
    const node = graph.addNode({ opType: 'Mystery', inputs: [graph.addInput('x')] });
    graph.setOutputs(node.outputs);
    expect(backend.supports(node)).toMatchObject({ ok: false, code: 'no-kernel' });
    expect(await codeOf(backend.compile(new Model({ graph })))).toBe('OP_UNSUPPORTED');
    expect(await codeOf(backend.compile({ kind: 'onnx', file: new Uint8Array(0) }))).toBe('BACKEND_FAILED');
    const wrong = [{ input: 'no', output: 'next', initial: f32(1) }];
    expect(await codeOf(backend.compile(runningSum(), { state: wrong }))).toBe('OPTIONS_INVALID');
  });

  it('times runs by the clock it was given', async () => {
    let clock = 0;
    await using backend = referenceBackend({ now: () => clock++ });
    const compiled = await backend.compile(runningSum(), { state });
    const times = await compiled.time({ x: f32(1) }, { runs: 3, warmup: 1 });
    expect(times).toHaveLength(3);
    expect([...times].every((time) => time > 0)).toBe(true);
  });
});
