import { constantOf, errors, type Graph, isFloat, Tensor, type Value } from '@lithe/core';
import { usesBehind } from './uses-behind.ts';

/** Where operators read weights: positions of inputs. */
const weightInputs: ReadonlyMap<string, readonly number[]> = new Map([
  ['Conv', [1, 2]],
  ['ConvTranspose', [1, 2]],
  ['DeformConv', [1, 3]],
  ['Gemm', [0, 1, 2]],
  ['MatMul', [0, 1]],
  ['Einsum', [0, 1]],
  ['Gather', [0]],
  ['GatherND', [0]],
  ['PRelu', [1]],
  ['BatchNormalization', [1, 2]],
  ['InstanceNormalization', [1, 2]],
  ['LayerNormalization', [1, 2]],
  ['GroupNormalization', [1, 2]],
  ['RMSNormalization', [1]],
  ['LSTM', [1, 2, 3, 7]],
  ['GRU', [1, 2, 3]],
  ['RNN', [1, 2, 3]],
]);

const arithmetic = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** Above this an addend is a mask that forbids, not a bias or a table of positions. */
const LARGEST_ADDEND = 1000;

/**
 * The weights of a model: float initializers that an operator reads where it takes weights (kernels, matrices, biases,
 * scales and shifts of normalizations, tables that Gather reads, weights of recurrent layers), directly or through
 * operators that only bring them into another form. A constant of plain arithmetic is a weight when it is a vector, as
 * the biases and scales that exporters write out are, or an addend of several axes and moderate size, as learned
 * positions are; a number (the 3 and the 6 of a written-out hard swish) and a mask are none. Running statistics, bounds
 * of Clip, exponents, scales of quantization and first states of recurrent layers are not weights.
 */
export async function findWeights(graph: Graph): Promise<readonly Value[]> {
  const found: Value[] = [];
  for (const value of graph.initializers) {
    if (value.dtype !== undefined && isFloat(value.dtype) && (await isWeight(value))) found.push(value);
  }
  return found;
}

async function isWeight(source: Value): Promise<boolean> {
  for (const { value, node, index } of usesBehind(source)) {
    if (weightInputs.get(node.opType)?.includes(index) === true && node.domain === '') return true;
    if (arithmetic.has(node.opType) && (await isArithmeticWeight(value, source, node.opType))) return true;
  }
  return false;
}

async function isArithmeticWeight(value: Value, source: Value, opType: string): Promise<boolean> {
  const long = (value.shape ?? source.shape ?? []).filter((dim) => dim !== 1).length;
  if (long < 2) return long === 1;
  if (opType !== 'Add' && opType !== 'Sub') return false;
  const tensor = await constantOf(source)?.load();
  return (
    tensor instanceof Tensor && tensor.toFloat64Array().every((item) => Math.abs(item) <= LARGEST_ADDEND)
  );
}

/**
 * The weights that learn: those of `found` that the loss depends on and the option wants, or exactly the float
 * initializers that it names.
 *
 * @throws {LitheError} OPTIONS_INVALID when a name is no float initializer that the loss depends on, or nothing is left
 */
export function chooseTrainable(
  graph: Graph,
  found: readonly Value[],
  {
    loss,
    trainable,
  }: {
    readonly loss: Value;
    readonly trainable: readonly string[] | ((name: string) => boolean) | undefined;
  },
): readonly Value[] {
  const reached = ancestors(loss);
  if (trainable !== undefined && typeof trainable !== 'function') {
    const named = trainable.map((name) => ({ name, value: graph.value(name) }));
    const wrong = named.filter(
      ({ value }) =>
        value?.initializer === undefined || !isFloat(value.dtype ?? 'bool') || !reached.has(value),
    );
    if (wrong.length > 0) {
      throw errors.optionsInvalid(
        'trainingStep',
        wrong.map(({ name }) => `"${name}" is not a float weight that the loss depends on.`),
      );
    }
    return [...new Set(named.map(({ value }) => value as Value))];
  }
  const chosen = found.filter((value) => reached.has(value) && (trainable?.(value.name) ?? true));
  if (chosen.length === 0) {
    throw errors.optionsInvalid(
      'trainingStep',
      ['No trainable weight leads to the loss.'],
      'Name what should learn: "trainable".',
    );
  }
  return chosen;
}

function ancestors(value: Value): ReadonlySet<Value> {
  const seen = new Set<Value>();
  const stack: Value[] = [value];
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (seen.has(item)) continue;
    seen.add(item);
    const { producer } = item;
    if (producer === null) continue;
    for (const input of producer.inputs) if (input !== null) stack.push(input);
    for (const [, inner] of producer.subgraphs) {
      for (const node of inner.nodesDeep())
        for (const input of node.inputs) if (input !== null) stack.push(input);
    }
  }
  return seen;
}
