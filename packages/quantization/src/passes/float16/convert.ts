import {
  attribute,
  constantOf,
  dtypes,
  type Graph,
  type Node,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { halfWeight } from '../../weights/half-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { MASK_VALUE } from './masks.ts';
import type { Why } from './plan.ts';

/** How {@link convertToHalf} works. */
export interface ConvertOptions {
  /** Nodes that stay float32. */
  readonly single: ReadonlyMap<Node, Why>;
  /** Names of constants whose elements below the range of float16 become {@link MASK_VALUE}. */
  readonly masks: ReadonlySet<string>;
  /** Whether the inputs and outputs of the graph stay float32. */
  readonly keepsIo: boolean;
}

/** Makes and remembers the two precisions of values. */
class Versions {
  readonly #half = new Map<Value, Value>();
  readonly #single = new Map<Value, Value>();
  readonly #masks: ReadonlySet<string>;

  constructor(masks: ReadonlySet<string>) {
    this.#masks = masks;
  }

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
  isEither(value: Value): boolean {
    return value.dtype === 'float32' || this.isHalved(value);
  }

  /** What stands for numbers below the range in this constant. */
  maskOf(value: Value): number | undefined {
    return this.#masks.has(value.name) ? MASK_VALUE : undefined;
  }

  half(value: Value): Value {
    let made = this.#half.get(value);
    if (made === undefined) {
      const source = constantOf(value);
      const { graph, name } = value;
      made =
        source === undefined
          ? cast(value, 'float16')
          : graph.addInitializer(
              graph.uniqueName(`${name}_f16`),
              halfWeight(source, `constant "${name}"`, this.maskOf(value)),
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

/** What a node fills or converts to is an attribute of it, which changes with its output. */
function halveAttributes(node: Node, versions: Versions): void {
  const { graph } = node;
  if (node.is('Cast')) graph.setAttribute(node, 'to', attribute.int(dtypes.float16.onnx));
  if (!node.is('ConstantOfShape')) return;
  const fill = node.attributes.get('value');
  const source = fill?.kind === 'tensor' ? fill.value : Tensor.from('float32', [1], new Float32Array(1));
  const mask = versions.maskOf(node.output());
  graph.setAttribute(node, 'value', attribute.tensor(halfWeight(source, `fill of "${node.name}"`, mask)));
}

/** Turns one node to float16; tells whether anything of it was float32. */
function halve(node: Node, versions: Versions): boolean {
  const { graph } = node;
  let touched = false;
  node.inputs.forEach((value, index) => {
    if (value === null || !versions.isEither(value)) return;
    graph.setInput(node, index, versions.half(value));
    touched = true;
  });
  let made = false;
  for (const output of node.outputs) {
    if (output.name === '' || output.dtype !== 'float32') continue;
    versions.declareHalf(output);
    made = true;
  }
  if (made) halveAttributes(node, versions);
  return touched || made;
}

/** Gives a value of another precision the place of an output, under its name. */
function exchangeOutput(graph: Graph, value: Value, replacement: Value, suffix: string): void {
  graph.setOutputs(graph.outputs.map((output) => (output === value ? replacement : output)));
  if (value.graph !== graph) return;
  const { name } = value;
  graph.rename(value, graph.uniqueName(`${name}_${suffix}`));
  graph.rename(replacement, name);
}

/** Gives the outputs of a graph back as float32, under their names. */
function restoreOutputs(graph: Graph, versions: Versions): void {
  for (const value of new Set(graph.outputs))
    if (versions.isHalved(value)) exchangeOutput(graph, value, versions.single(value), 'f16');
}

/** Gives the float32 outputs of a graph as float16, under their names; those that are inputs too are left. */
function halveOutputs(graph: Graph, versions: Versions): void {
  for (const value of new Set(graph.outputs)) {
    if (value.dtype !== 'float32' || value.isGraphInput) continue;
    exchangeOutput(graph, value, versions.half(value), 'f32');
  }
}

interface State {
  readonly versions: Versions;
  readonly counts: Map<string, number>;
  readonly options: ConvertOptions;
}

function convertGraph(graph: Graph, state: State): void {
  const { versions, counts, options } = state;
  for (const node of [...graph.nodes()]) {
    if (node.is('Constant')) continue;
    if (!options.single.has(node)) {
      if (halve(node, versions)) counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
      continue;
    }
    node.inputs.forEach((value, index) => {
      if (value !== null) graph.setInput(node, index, versions.single(value));
    });
    for (const [, inner] of node.subgraphs) {
      convertGraph(inner, state);
      restoreOutputs(inner, versions);
    }
  }
}

function removeUnusedConstants(graph: Graph): void {
  for (const value of [...graph.initializers]) removeConstant(value);
  for (const node of graph.nodesReversed()) {
    if (node.is('Constant')) removeConstant(node.output());
    for (const [, inner] of node.subgraphs) removeUnusedConstants(inner);
  }
}

/**
 * Converts a graph and its subgraphs to float16 inside, but for the nodes that stay float32. Each value is cast once at
 * most in either direction.
 *
 * @returns how many nodes of each operator compute in float16 now
 */
export function convertToHalf(graph: Graph, options: ConvertOptions): ReadonlyMap<string, number> {
  const versions = new Versions(options.masks);
  const counts = new Map<string, number>();
  if (!options.keepsIo) {
    for (const value of graph.inputs)
      if (value.dtype === 'float32' && value.initializer === undefined) versions.declareHalf(value);
  }
  convertGraph(graph, { versions, counts, options });
  if (options.keepsIo) restoreOutputs(graph, versions);
  else halveOutputs(graph, versions);
  removeUnusedConstants(graph);
  return counts;
}
