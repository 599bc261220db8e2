import {
  attribute,
  createRng,
  type Feeds,
  Graph,
  inferNodeTypes,
  inferShapes,
  Model,
  standardOps,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { type EmitAttributes, Emitter } from '../src/index.ts';

/** Smallest and largest number that is drawn. */
export type Range = readonly [number, number];

/** One operator with inputs: float shapes are drawn, tensors are constants, `null` is left out. */
export interface Case {
  readonly name?: string;
  readonly op: string;
  /** Operator set; `ai.onnx` by default. Only without attributes. */
  readonly domain?: string;
  readonly inputs: readonly (readonly number[] | Tensor | null)[];
  readonly attributes?: EmitAttributes;
  readonly outputs?: number;
  /** Where inputs are drawn from; [-2, 2] by default. */
  readonly range?: Range;
  /** Inputs (by index) that have no gradient. */
  readonly constant?: readonly number[];
}

/** A case as a model, and what it is fed. */
export interface Built {
  readonly model: Model;
  readonly feeds: Record<string, Tensor<'float64'>>;
  /** What each output of the operator is weighted by in the loss; `null` for one that is not part of it. */
  readonly weights: readonly (Tensor<'float64'> | null)[];
}

/** loss = sum of all outputs, each weighted elementwise by fixed random numbers. */
export async function build(item: Case): Promise<Built> {
  const rng = createRng(7).fork(JSON.stringify([item.op, item.attributes]));
  const graph = new Graph('case');
  const feeds: Record<string, Tensor<'float64'>> = {};
  const [low, high] = item.range ?? [-2, 2];
  const values = item.inputs.map((input, index): Value | null => {
    if (input === null) return null;
    if (input instanceof Tensor) return graph.addInitializer(`c${index}`, input);
    const size = input.reduce((product, dim) => product * dim, 1);
    feeds[`x${index}`] = Tensor.from(
      'float64',
      input,
      Float64Array.from({ length: size }, () => low + (high - low) * rng.next()),
    );
    return graph.addInput(`x${index}`, tensorType('float64', input));
  });
  const emit = new Emitter(graph, standardOps, 'f/');
  const outputs =
    item.domain === undefined
      ? emit.node(item.op, values, item.attributes ?? {}, item.outputs ?? 1)
      : graph.addNode({ opType: item.op, domain: item.domain, inputs: values }, 1).outputs;
  const [first] = outputs;
  if (item.domain !== undefined && first?.producer != null) inferNodeTypes(first.producer, standardOps);
  const weights = outputs.map((output, index): Tensor<'float64'> | null => {
    if (output.dtype !== 'float64' || (index > 0 && item.name?.includes('training') === true)) return null;
    const shape = output.shape as readonly number[];
    const size = shape.reduce((product, dim) => product * dim, 1);
    return Tensor.from(
      'float64',
      shape,
      Float64Array.from({ length: size }, () => rng.normal()),
    );
  });
  const parts = outputs.flatMap((output, index): Value[] => {
    const weight = weights[index];
    if (weight == null) return [];
    const factor = emit.floats(weight.shape, weight.data, 'float64');
    return [emit.op('ReduceSum', [emit.mul(output, factor)], { keepdims: 0 })];
  });
  const loss = parts.reduce((left, right) => emit.add(left, right));
  graph.rename(loss, 'loss');
  graph.setOutputs([loss]);
  const model = new Model({ graph });
  await inferShapes(model);
  return { model, feeds, weights };
}

/** The same case in float32: its inputs and constants, and what a Cast casts to. */
export async function inFloat32({
  model,
  feeds,
}: Built): Promise<{ readonly model: Model; readonly feeds: Feeds }> {
  const copy = model.clone();
  const { graph } = copy;
  for (const value of graph.initializers) {
    const tensor = await value.initializer?.load();
    if (tensor?.dtype === 'float64') graph.setInitializer(value, narrow(tensor));
  }
  for (const value of graph.inputs)
    if (value.dtype === 'float64') value.type = tensorType('float32', value.shape ?? []);
  for (const node of graph.nodes()) {
    if (node.is('Cast')) graph.setAttribute(node, 'to', attribute.int(1));
    for (const output of node.outputs) output.type = undefined;
  }
  await inferShapes(copy);
  return {
    model: copy,
    feeds: Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, narrow(tensor)])),
  };
}

const narrow = (tensor: Tensor): Tensor =>
  Tensor.from('float32', tensor.shape, Float32Array.from(tensor.toFloat64Array()));

const lossOf = async (model: Model, feeds: Feeds): Promise<number> => {
  const results = await evaluateModel(model, feeds);
  return Number((results['loss'] as Tensor<'float64'>).data[0]);
};

/** Central differences, element by element. */
export async function numericGradient({ model, feeds }: Built, name: string): Promise<Float64Array> {
  const step = 1e-5;
  const base = feeds[name] as Tensor<'float64'>;
  const result = new Float64Array(base.size);
  for (let index = 0; index < base.size; index++) {
    const at = async (delta: number): Promise<number> => {
      const moved = Float64Array.from(base.data);
      moved[index] = (moved[index] as number) + delta;
      return lossOf(model, { ...feeds, [name]: Tensor.from('float64', base.shape, moved) });
    };
    result[index] = ((await at(step)) - (await at(-step))) / (2 * step);
  }
  return result;
}

/** Name of a case, for the test. */
export const label = (item: Case): string =>
  item.name ??
  `${item.op} ${item.inputs.map((input) => (input === null ? '–' : `[${(input instanceof Tensor ? input.shape : input).join(' ')}]`)).join(' ')} ${JSON.stringify(item.attributes ?? {})}`;
