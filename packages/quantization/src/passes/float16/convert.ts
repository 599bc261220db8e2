import {
  type AnyOpDef,
  attribute,
  constantOf,
  dtypes,
  type Graph,
  type Node,
  type OpSet,
  type ParameterSpec,
  type ReportBuilder,
  tensorType,
  type Value,
} from '@lithe/core';
import { halfWeight } from '../../weights/half-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';

/** What decides which nodes stay float32. */
export interface HalfOptions {
  /** Operators that are known. */
  readonly opset: OpSet;
  /** Operators of `ai.onnx` that stay float32. */
  readonly float32Operators: ReadonlySet<string>;
  /** Names of nodes that stay float32. */
  readonly exclude: ReadonlySet<string>;
  /** Names of constants that do not fit float16. */
  readonly oversized: ReadonlySet<string>;
  /** Names of activations that come too near the limit. */
  readonly dangerous: ReadonlySet<string>;
  /** Receives what stays float32. */
  readonly report: ReportBuilder;
}

/** Makes and remembers the two precisions of values. */
class Versions {
  readonly #half = new Map<Value, Value>();
  readonly #single = new Map<Value, Value>();

  /** Declares that a value that held float32 holds float16 from now on. */
  declareHalf(value: Value): void {
    this.#half.set(value, value);
    value.type = tensorType('float16', value.shape);
  }

  /** Whether a value held float32 and now holds float16. */
  isHalved(value: Value): boolean {
    return this.#half.get(value) === value;
  }

  /** Whether a value is one of those that come in both precisions. */
  isSinglePrecision(value: Value): boolean {
    return value.dtype === 'float32' || this.isHalved(value);
  }

  half(value: Value): Value {
    let made = this.#half.get(value);
    if (made === undefined) {
      const source = constantOf(value);
      const { graph } = value;
      made =
        source === undefined
          ? cast(value, 'float16')
          : graph.addInitializer(
              graph.uniqueName(`${value.name}_f16`),
              halfWeight(source, `constant "${value.name}"`),
            );
      this.#half.set(value, made);
    }
    return made;
  }

  single(value: Value): Value {
    if (!this.isHalved(value)) return value;
    let made = this.#single.get(value);
    if (made === undefined) {
      made = cast(value, 'float32');
      this.#single.set(value, made);
    }
    return made;
  }
}

function cast(value: Value, dtype: 'float16' | 'float32'): Value {
  const { graph, producer } = value;
  const first = graph.nodes().next().value as Node | undefined;
  const place = producer !== null ? { after: producer } : first === undefined ? {} : { before: first };
  const suffix = dtype === 'float16' ? 'f16' : 'f32';
  const output = { name: graph.uniqueName(`${value.name}_${suffix}`), type: tensorType(dtype, value.shape) };
  const attributes = { to: attribute.int(dtypes[dtype].onnx) };
  return graph.addNode({ opType: 'Cast', inputs: [value], attributes }, [output], place).output();
}

/** Whether a formal parameter of an operator takes float16; the last one stands for all further ones. */
function takesHalf(parameters: readonly ParameterSpec[], index: number): boolean {
  const parameter = parameters[Math.min(index, parameters.length - 1)];
  return parameter !== undefined && (parameter.dtypes.length === 0 || parameter.dtypes.includes('float16'));
}

type Why = readonly [code: string, reason: string];

/** Why an operator stays float32, whatever its values. */
function operatorStays(node: Node, options: HalfOptions): Why | undefined {
  if (options.exclude.has(node.name)) return ['excluded', 'it was excluded by name'];
  if (node.subgraphs.length > 0) return ['control-flow', 'control flow hands on float32'];
  if (node.domain === '' && options.float32Operators.has(node.opType))
    return ['float32-operator', `${node.opType} stays float32`];
  if (node.is('ConstantOfShape') || node.is('CastLike'))
    return ['fixed-type', `the result type of ${node.op} is fixed`];
  // Whole numbers above 2048 are not exact in float16; whoever computes with them decides.
  if (node.is('Cast') && node.input(0)?.dtype !== 'float32' && node.input(0)?.dtype !== 'float16')
    return ['integer-cast', 'it converts from or to other types'];
  return options.opset.of(node) === undefined
    ? ['unknown-operator', `operator ${node.op} is not known`]
    : undefined;
}

/** Why a node stays float32; `undefined` when it can compute in float16. */
function staysSingle(node: Node, options: HalfOptions, versions: Versions): Why | undefined {
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
      if (value.type?.kind === 'tensor' ? value.dtype === undefined : value.type === undefined) {
        return ['unknown-type', `the type of "${value.name}" is not known`];
      }
      if (versions.isSinglePrecision(value) && !takesHalf(parameters, index))
        return ['no-float16', `${node.op} does not take float16 throughout`];
      if (options.oversized.has(value.name))
        return ['overflow', `constant "${value.name}" is beyond the float16 range`];
      if (options.dangerous.has(value.name))
        return ['large-activation', `"${value.name}" exceeds what float16 is trusted with`];
    }
  }
  return undefined;
}

/** Turns one node to float16; tells whether anything of it was float32. */
function halve(node: Node, versions: Versions): boolean {
  const { graph } = node;
  let touched = false;
  node.inputs.forEach((value, index) => {
    if (value === null || !versions.isSinglePrecision(value)) return;
    graph.setInput(node, index, versions.half(value));
    touched = true;
  });
  for (const output of node.outputs) {
    if (output.name === '' || output.dtype !== 'float32') continue;
    versions.declareHalf(output);
    touched = true;
  }
  if (touched && node.is('Cast')) graph.setAttribute(node, 'to', attribute.int(dtypes.float16.onnx));
  return touched;
}

/** Gives the outputs of a graph back as float32, under their names. */
function restoreOutputs(graph: Graph, versions: Versions): void {
  for (const value of new Set(graph.outputs)) {
    if (!versions.isHalved(value)) continue;
    const restored = versions.single(value);
    graph.setOutputs(graph.outputs.map((output) => (output === value ? restored : output)));
    if (value.graph !== graph) continue;
    const { name } = value;
    graph.rename(value, graph.uniqueName(`${name}_f16`));
    graph.rename(restored, name);
  }
}

function convertGraph(
  graph: Graph,
  options: HalfOptions,
  state: { readonly versions: Versions; readonly counts: Map<string, number> },
): void {
  const { versions, counts } = state;
  for (const node of [...graph.nodes()]) {
    if (node.is('Constant')) continue;
    const values = [...node.inputs, ...node.outputs].filter((value) => value !== null);
    const floats = values.some((value) => versions.isSinglePrecision(value) || value.type === undefined);
    const why = staysSingle(node, options, versions);
    if (why === undefined) {
      if (halve(node, versions)) counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
      continue;
    }
    if (floats) options.report.skip(node.name, ...why);
    node.inputs.forEach((value, index) => {
      if (value !== null) graph.setInput(node, index, versions.single(value));
    });
    for (const [, inner] of node.subgraphs) convertGraph(inner, options, state);
  }
  restoreOutputs(graph, versions);
}

function removeUnusedConstants(graph: Graph): void {
  for (const value of [...graph.initializers]) removeConstant(value);
  for (const node of graph.nodesReversed()) {
    if (node.is('Constant')) removeConstant(node.output());
    for (const [, inner] of node.subgraphs) removeUnusedConstants(inner);
  }
}

/**
 * Converts a graph and its subgraphs to float16 inside; their inputs and outputs keep their types.
 *
 * @returns how many nodes of each operator compute in float16 now
 */
export function convertToHalf(graph: Graph, options: HalfOptions): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  convertGraph(graph, options, { versions: new Versions(), counts });
  removeUnusedConstants(graph);
  return counts;
}
