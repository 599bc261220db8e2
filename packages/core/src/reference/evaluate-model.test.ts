import { describe, expect, it } from 'vitest';
import { isLitheError } from '../errors/lithe-error.ts';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model, type ModelFunction } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import { lazyTensor, Tensor } from '../tensor/tensor.ts';
import { evaluateModel, evaluateValues } from './evaluate-model.ts';

const f32 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));
const bool = (value: boolean): Tensor => Tensor.from('bool', [], new Uint8Array([value ? 1 : 0]));
const i64 = (value: number): Tensor => Tensor.from('int64', [], new BigInt64Array([BigInt(value)]));

const codeOf = async (running: Promise<unknown>): Promise<string> => {
  const error: unknown = await running.catch((thrown: unknown) => thrown);
  return isLitheError(error) ? error.code : String(error);
};

/** `y = x + w`, with `w` loaded lazily; counts the loads. */
function lazyAdd(): { model: Model; loads: () => number } {
  let loads = 0;
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', ['N']));
  const w = graph.addInitializer(
    'w',
    lazyTensor('float32', [1], () => {
      loads++;
      return f32([10]);
    }),
  );
  const node = graph.addNode({ opType: 'Add', inputs: [x, w] }, [{ name: 'y' }]);
  graph.setOutputs([node.output(0)]);
  return { model: new Model({ graph }), loads: () => loads };
}

/** A loop that doubles `v` while `v < 100`, or for ever. */
function doubling(bounded: boolean): Model {
  const graph = new Graph();
  const start = graph.addInput('v', tensorType('float32', [1]));
  const limit = graph.addInitializer('limit', f32([100]));
  const body = new Graph('body', graph);
  body.addInput('i');
  const condition = body.addInput('c');
  const value = body.addInput('value');
  const doubled = body.addNode({ opType: 'Add', inputs: [value, value] });
  // Reads `limit` of the graph around it.
  const less = body.addNode({ opType: 'Less', inputs: [doubled.output(0), limit] });
  const flag = body.addNode({ opType: 'Squeeze', inputs: [less.output(0)] });
  body.setOutputs([bounded ? flag.output(0) : condition, doubled.output(0), doubled.output(0)]);
  const go = graph.addInitializer('go', bool(true));
  const node = graph.addNode(
    { opType: 'Loop', inputs: [null, go, start], attributes: { body: attribute.graph(body) } },
    [{ name: 'last' }, { name: 'all' }],
  );
  graph.setOutputs(node.outputs);
  return new Model({ graph });
}

describe('evaluateModel', () => {
  it('loads a lazy weight once a run and lets go of it', async () => {
    const { model, loads } = lazyAdd();
    expect((await evaluateModel(model, { x: f32([1, 2]) }))['y']?.data).toEqual(new Float32Array([11, 12]));
    await evaluateModel(model, { x: f32([1]) });
    expect(loads()).toBe(2);
  });

  it('computes only what the asked-for outputs need', async () => {
    const graph = new Graph();
    const x = graph.addInput('x');
    const good = graph.addNode({ opType: 'Relu', inputs: [x] }, [{ name: 'good' }]);
    const bad = graph.addNode({ opType: 'Cast', inputs: [x] }, [{ name: 'bad' }]);
    graph.setOutputs([good.output(0), bad.output(0)]);
    const model = new Model({ graph });
    const { good: result } = await evaluateModel(model, { x: f32([-1]) }, { outputs: ['good'] });
    expect(result?.data).toEqual(new Float32Array([0]));
    expect(await codeOf(evaluateModel(model, { x: f32([-1]) }))).toBe('ATTRIBUTE_INVALID');
    expect(await codeOf(evaluateModel(model, { x: f32([1]) }, { outputs: ['none'] }))).toBe(
      'OPTIONS_INVALID',
    );
  });

  it('refuses feeds that do not fit the inputs', async () => {
    const graph = new Graph();
    const a = graph.addInput('a', tensorType('float32', ['N', 2]));
    const b = graph.addInput('b', tensorType('float32', ['N']));
    graph.setOutputs([a, b]);
    const model = new Model({ graph });
    const good = { a: f32([1, 2], [1, 2]), b: f32([1]) };
    expect((await evaluateModel(model, good))['a']?.data).toEqual(new Float32Array([1, 2]));
    expect(await codeOf(evaluateModel(model, { a: good.a }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(evaluateModel(model, { ...good, b: f32([1, 2]) }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(evaluateModel(model, { ...good, b: i64(1) }))).toBe('SHAPE_MISMATCH');
    expect(await codeOf(evaluateModel(model, { ...good, c: f32([1]) }))).toBe('SHAPE_MISMATCH');
  });

  it('runs loops that read values around them', async () => {
    const results = await evaluateModel(doubling(true), { v: f32([3]) });
    expect(results['last']?.data).toEqual(new Float32Array([192]));
    expect(results['all']?.shape).toEqual([6, 1]);
    expect(results['all']?.data).toEqual(new Float32Array([6, 12, 24, 48, 96, 192]));
  });

  it('ends a loop without end', async () => {
    const running = evaluateModel(doubling(false), { v: f32([0]) }, { maxSubgraphRuns: 1000 });
    expect(await codeOf(running)).toBe('LIMIT_EXCEEDED');
  });

  it('calls local functions with the attributes of the call', async () => {
    const body = new Graph('Leak');
    const x = body.addInput('x');
    const leaky = body.addNode({
      opType: 'LeakyRelu',
      inputs: [x],
      attributes: { alpha: { kind: 'reference', name: 'slope', of: 'float' } },
    });
    body.setOutputs([leaky.output(0)]);
    const leak: ModelFunction = {
      domain: 'local',
      name: 'Leak',
      overload: '',
      graph: body,
      attributes: [],
      attributeDefaults: new Map([['slope', attribute.float(0.5)]]),
      opsetImports: new Map([['', 21]]),
      docString: undefined,
      props: new Map(),
    };
    const graph = new Graph();
    const input = graph.addInput('x');
    const plain = graph.addNode({ opType: 'Leak', domain: 'local', inputs: [input] }, [{ name: 'plain' }]);
    const steep = graph.addNode(
      { opType: 'Leak', domain: 'local', inputs: [input], attributes: { slope: attribute.float(4) } },
      [{ name: 'steep' }],
    );
    graph.setOutputs([plain.output(0), steep.output(0)]);
    const results = await evaluateModel(new Model({ graph, functions: [leak] }), { x: f32([-2, 1]) });
    expect(results['plain']?.data).toEqual(new Float32Array([-1, 1]));
    expect(results['steep']?.data).toEqual(new Float32Array([-8, 1]));
  });

  it('names a node without kernel before it computes anything', async () => {
    const graph = new Graph();
    const node = graph.addNode({ opType: 'Mystery', inputs: [graph.addInput('x')] });
    graph.setOutputs(node.outputs);
    const model = new Model({ graph });
    expect(await codeOf(evaluateModel(model, { x: f32([1]) }))).toBe('OP_UNSUPPORTED');
    const kernels = { Mystery: () => [f32([42])] };
    const results = await evaluateModel(model, { x: f32([1]) }, { kernels });
    expect(Object.values(results)[0]?.data).toEqual(new Float32Array([42]));
  });

  it('draws the same numbers for the same seed', async () => {
    const graph = new Graph();
    const node = graph.addNode(
      { opType: 'RandomNormal', inputs: [], attributes: { shape: attribute.ints([4]) } },
      [{ name: 'r' }],
    );
    graph.setOutputs(node.outputs);
    const model = new Model({ graph });
    const draw = async (seed: number): Promise<unknown> =>
      (await evaluateModel(model, {}, { seed }))['r']?.data;
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  it('stops between nodes when it is asked to', async () => {
    const graph = new Graph();
    let value = graph.addInput('x');
    for (let index = 0; index < 50; index++)
      value = graph.addNode({ opType: 'Slow', inputs: [value] }).output(0);
    graph.setOutputs([value]);
    const controller = new AbortController();
    let ran = 0;
    let clock = 0;
    const running = evaluateModel(
      new Model({ graph }),
      { x: f32([1]) },
      {
        signal: controller.signal,
        now: () => clock,
        kernels: {
          Slow: (context) => {
            ran++;
            clock += 10;
            return [context.value(0)];
          },
        },
      },
    );
    // The clock makes the interpreter give the event loop a turn, in which this runs.
    setTimeout(() => controller.abort(new Error('enough')), 0);
    await expect(running).rejects.toThrow('enough');
    expect(ran).toBeLessThan(50);
  });

  it('hands out sequences through evaluateValues alone', async () => {
    const graph = new Graph();
    const x = graph.addInput('x');
    const node = graph.addNode({ opType: 'SequenceConstruct', inputs: [x, x] }, [{ name: 's' }]);
    graph.setOutputs(node.outputs);
    const model = new Model({ graph });
    expect(await codeOf(evaluateModel(model, { x: f32([1]) }))).toBe('DTYPE_UNSUPPORTED');
    expect((await evaluateValues(model, { x: f32([1]) }))['s']).toMatchObject({ kind: 'sequence' });
  });
});
