import type { AnyOpDef, Graph, Node, OpSet, ParameterSpec, Value } from '@lithe/core';
import { constantOf } from '@lithe/core';
import { movingOperators } from './operators.ts';

/** What decides which nodes stay float32. */
export interface HalfPlanOptions {
  /** Operators that are known. */
  readonly opset: OpSet;
  /** Operators of `ai.onnx` that stay float32, with the reason as a clause. */
  readonly float32Operators: ReadonlyMap<string, string>;
  /** Names of nodes that stay float32. */
  readonly exclude: ReadonlySet<string>;
  /** Names of constants that do not fit float16. */
  readonly oversized: ReadonlySet<string>;
  /** Names of activations that come too near the limit, with what was seen as a clause. */
  readonly dangerous: ReadonlyMap<string, string>;
  /** Names of values made from integers that were seen to be small enough to be exact. */
  readonly exact: ReadonlySet<string>;
}

/** Why a node stays float32. */
export type Why = readonly [code: string, reason: string];

/** Whether a formal parameter of an operator takes float16; the last one stands for all further ones. */
function takesHalf(parameters: readonly ParameterSpec[], index: number): boolean {
  const parameter = parameters[Math.min(index, parameters.length - 1)];
  return parameter !== undefined && (parameter.dtypes.length === 0 || parameter.dtypes.includes('float16'));
}

const isFloat = (value: Value): boolean => value.dtype === 'float32';

const wholeNumbers: ReadonlySet<string> = new Set(['int32', 'int64', 'uint32', 'uint64', 'int16', 'uint16']);

/** Whether a `Cast` from whole numbers may give something else in float16. */
function inexactCast(node: Node, options: HalfPlanOptions): boolean {
  const { dtype } = node.input(0) ?? {};
  if (dtype === undefined || dtype === 'float32' || dtype === 'float16') return dtype === undefined;
  // int8, uint8 and bool fit; wider ones are exact up to 2048.
  return (
    (wholeNumbers.has(dtype) && !options.exact.has(node.output().name)) ||
    dtype === 'float64' ||
    dtype === 'string'
  );
}

/** Why an operator stays float32, whatever its values. */
function operatorStays(node: Node, options: HalfPlanOptions): Why | undefined {
  if (options.exclude.has(node.name)) return ['excluded', 'it was excluded by name'];
  if (node.subgraphs.length > 0) return ['control-flow', 'control flow hands on float32'];
  const reason = node.domain === '' ? options.float32Operators.get(node.opType) : undefined;
  if (reason !== undefined) return ['float32-operator', `${node.opType}: ${reason}`];
  if (node.is('CastLike')) return ['fixed-type', `the result type of ${node.op} is fixed`];
  if (node.is('Cast') && inexactCast(node, options))
    return ['integer-cast', 'it converts from whole numbers that float16 may not hold'];
  return options.opset.of(node) === undefined
    ? ['unknown-operator', `operator ${node.op} is not known`]
    : undefined;
}

/** Why a node stays float32; `undefined` when it can compute in float16. */
function staysSingle(node: Node, options: HalfPlanOptions): Why | undefined {
  const why = operatorStays(node, options);
  if (why !== undefined) return why;
  const definition = options.opset.of(node) as AnyOpDef;
  const sides = [
    [node.inputs, definition.inputs],
    [node.outputs, definition.outputs],
  ] as const;
  for (const [values, parameters] of sides) {
    for (const [index, value] of values.entries()) {
      if (value === null || value.name === '') continue;
      if (value.type !== undefined && value.type.kind !== 'tensor')
        return ['not-a-tensor', `"${value.name}" is no tensor`];
      if (value.type?.kind === 'tensor' ? value.dtype === undefined : value.type === undefined)
        return ['unknown-type', `the type of "${value.name}" is not known`];
      if (isFloat(value) && !takesHalf(parameters, index))
        return ['no-float16', `${node.op} does not take float16 throughout`];
      if (options.oversized.has(value.name))
        return ['overflow', `constant "${value.name}" is beyond the float16 range`];
      const seen = options.dangerous.get(value.name);
      if (seen !== undefined) return ['large-activation', `"${value.name}" ${seen}`];
    }
  }
  return undefined;
}

/** Nodes of a graph and of its subgraphs, in order. */
function* deep(graph: Graph): IterableIterator<Node> {
  for (const node of graph.nodes()) {
    yield node;
    for (const [, inner] of node.subgraphs) yield* deep(inner);
  }
}

/** Whether a node touches float32 values, or values whose type is not known. */
function touchesFloats(node: Node): boolean {
  return [...node.inputs, ...node.outputs].some(
    (value) => value !== null && (value.type === undefined || isFloat(value)),
  );
}

/** Float inputs that are computed or fed: constants can be stored in either precision. */
const floatInputs = (node: Node): readonly Value[] =>
  node.inputs.filter(
    (value): value is Value => value !== null && isFloat(value) && constantOf(value) === undefined,
  );

/**
 * Nodes between float32 neighbours that float16 would only put casts around: those that move elements, and arithmetic
 * that leads from whole numbers to whole numbers (sizes, indices), where 11 bits are too few as well.
 */
function betweenSingles(
  nodes: readonly Node[],
  single: ReadonlyMap<Node, Why>,
  keepsIo: boolean,
): ReadonlyMap<Node, Why> {
  const ofIntegers = (node: Node): boolean =>
    node.is('Cast') && isFloat(node.output()) && wholeNumbers.has(node.input(0)?.dtype ?? '');
  const toIntegers = (node: Node): boolean => node.is('Cast') && wholeNumbers.has(node.output().dtype ?? '');
  const after = new Map<Node, 'moved' | 'whole'>();
  for (const node of nodes) {
    if (single.has(node) || node.is('Constant')) continue;
    if (ofIntegers(node)) {
      after.set(node, 'whole');
      continue;
    }
    const inputs = floatInputs(node);
    if (inputs.length === 0) continue;
    const producers = inputs.map((value) => value.producer);
    if (producers.every((one) => one !== null && (ofIntegers(one) || after.get(one) === 'whole'))) {
      after.set(node, 'whole');
    } else if (
      movingOperators.has(node.opType) &&
      node.domain === '' &&
      producers.every((one) => (one === null ? keepsIo : single.has(one) || after.has(one)))
    ) {
      after.set(node, 'moved');
    }
  }
  const found = new Map<Node, Why>();
  for (const node of nodes.toReversed()) {
    const kind = after.get(node);
    if (kind === undefined) continue;
    const outputs = node.outputs.filter(isFloat);
    const uses = outputs.flatMap((value) => value.uses);
    const leaves = outputs.some((value) => value.outputOf.length > 0);
    const wholeEnd =
      kind === 'whole' &&
      !leaves &&
      (toIntegers(node) ||
        (uses.length > 0 && uses.every((use) => found.get(use.node)?.[0] === 'whole-numbers')));
    if (wholeEnd) {
      found.set(node, ['whole-numbers', 'it computes with whole numbers, such as sizes']);
      continue;
    }
    if (!movingOperators.has(node.opType) || node.domain !== '') continue;
    const single_ = uses.every((use) => single.has(use.node) || found.has(use.node));
    if (single_ && (keepsIo || !leaves) && (uses.length > 0 || leaves))
      found.set(node, ['between-float32', 'it moves elements between nodes that stay float32']);
  }
  return found;
}

/**
 * Decides which nodes stay float32, subgraphs included, with the reason.
 *
 * @param keepsIo whether the graph's inputs and outputs stay float32
 */
export function planHalf(graph: Graph, options: HalfPlanOptions, keepsIo: boolean): ReadonlyMap<Node, Why> {
  const single = new Map<Node, Why>();
  const nodes = [...deep(graph)];
  for (const node of nodes) {
    if (node.is('Constant')) continue;
    const why = staysSingle(node, options);
    if (why !== undefined && (touchesFloats(node) || node.subgraphs.length > 0)) single.set(node, why);
  }
  for (const [node, why] of betweenSingles(nodes, single, keepsIo)) single.set(node, why);
  return single;
}
