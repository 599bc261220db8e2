import {
  type Attribute,
  attribute,
  attributesOf,
  type Graph,
  inferNodeTypes,
  type Node,
  standardOpDefs,
  Tensor,
  type Value,
} from '@lithe/core';
import { floatTensor, scalarTensor } from '../autodiff/emitter.ts';

/**
 * Writes BatchNormalization in training form out as reductions and arithmetic: runtimes for inference have no kernel
 * for that form on every device. Mean and variance are computed as the gradient rule computes them, so that equal
 * nodes can be shared. Running statistics follow the operator's definition: the variance is that of the population.
 */
export function lowerBatchNormalization(graph: Graph): void {
  for (const node of [...graph.nodes()]) {
    if (!node.is('BatchNormalization')) continue;
    if (attributesOf(node, standardOpDefs.BatchNormalization).training_mode) lower(graph, node);
  }
}

function lower(graph: Graph, node: Node): void {
  const { epsilon, momentum } = attributesOf(node, standardOpDefs.BatchNormalization);
  const [x, scale, bias, mean, variance] = node.inputs as readonly [Value, Value, Value, Value, Value];
  const dtype = x.dtype ?? 'float32';
  // The running statistics are constants of the model, so that their size is known.
  const channels = Number(mean.shape?.[0]);
  const later = Array.from({ length: (x.shape?.length ?? 2) - 2 }, (_, index) => index + 2);
  const op = (
    opType: string,
    inputs: readonly Value[],
    attributes: ReadonlyMap<string, Attribute> = new Map(),
  ): Value => {
    const added = graph.addNode({ opType, inputs, attributes }, 1, { before: node });
    inferNodeTypes(added);
    return added.output();
  };
  const constant = (tensor: Tensor): Value => graph.addInitializer(graph.uniqueName('train/norm'), tensor);
  const ints = (values: readonly number[]): Value =>
    constant(Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt)));
  const axes = ints([0, ...later]);
  const flat = ints([-1]);
  const average = (value: Value): Value =>
    op('ReduceMean', [value, axes], new Map([['keepdims', attribute.int(1)]]));
  const center = average(x);
  const centered = op('Sub', [x, center]);
  const population = op(
    'ReduceMean',
    [op('Mul', [centered, centered]), axes],
    new Map([['keepdims', attribute.int(0)]]),
  );
  // The rest is the inference form on what is centered already: one pass instead of three (measured in onnxruntime).
  const zeros = constant(floatTensor([channels], new Float32Array(channels), dtype));
  const y = op(
    'BatchNormalization',
    [centered, scale, bias, zeros, population],
    new Map([['epsilon', attribute.float(epsilon)]]),
  );
  const follow = (before: Value, now: Value): Value =>
    op('Add', [
      op('Mul', [before, constant(scalarTensor(momentum, dtype))]),
      op('Mul', [op('Reshape', [now, flat]), constant(scalarTensor(1 - momentum, dtype))]),
    ]);
  const results = [() => y, () => follow(mean, center), () => follow(variance, population)];
  for (const [index, output] of node.outputs.entries()) {
    const result = results[index];
    if (result !== undefined && (index === 0 || !output.isUnused)) graph.replaceAllUses(output, result());
  }
  graph.remove(node);
}
