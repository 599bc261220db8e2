import {
  byteLengthOf,
  constantOf,
  type Dim,
  elementsOf,
  type Graph,
  type IntegerRules,
  lazyTensor,
  type Node,
  Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { type FusionDraft, graphsOf, onlyReader } from './fusion-draft.ts';
import { integerType, isDequantize, isQuantize, limitsOf, sameParameters } from './pairs.ts';

/**
 * Plays through what the runtime does to a graph before it looks for integer operators: the rewrites that decide
 * whether pairs are where an operator needs them. They repeat until nothing changes, as the runtime's do.
 */
export function rewriteAsLoaded(draft: FusionDraft, rules: IntegerRules): void {
  for (const graph of graphsOf(draft.model.graph)) {
    for (let round = 0; round < 10; round++) {
      const revision = graph.revision.count;
      removeIdle(graph, draft);
      removeDoublePairs(graph, draft);
      foldQuantizers(graph);
      mergeQuantizers(graph, draft);
      if (rules.joinsProductAndBias) joinProductsAndBiases(graph, draft);
      carryPairsForward(graph, draft, rules);
      carryPairsBackward(graph, draft, rules);
      quantizeFloatWeights(graph, draft, rules);
      separateDequantizers(graph, draft);
      if (graph.revision.count === revision) break;
    }
  }
}

/** Once activation functions have vanished, the runtime quantizes before a transposition rather than behind it. */
export function quantizeBeforeTransposes(draft: FusionDraft, rules: IntegerRules): void {
  if (!rules.carriesPairs.includes('Transpose')) return;
  for (const graph of graphsOf(draft.model.graph))
    carryPairsBackward(graph, draft, { ...rules, carriesPairs: ['Transpose'] }, false);
}

/** The input that a node hands on unchanged: `Identity`, a product with 1, a sum with 0. */
function handedOn(node: Node, draft: FusionDraft): Value | null {
  if (node.domain !== '' || node.outputs.length !== 1) return null;
  if (node.opType === 'Identity') return node.input(0);
  const neutral = { Add: 0, Sub: 0, Mul: 1, Div: 1 }[node.opType];
  if (neutral === undefined) return null;
  const sides = node.opType === 'Add' || node.opType === 'Mul' ? [1, 0] : [1];
  for (const side of sides) {
    const constant = node.input(side);
    const other = node.input(1 - side);
    if (constant === null || other === null || draft.scalars.get(constant)?.[0] !== neutral) continue;
    const rank = constantOf(constant)?.shape.length ?? 0;
    if (rank === 0 || (other.shape !== undefined && other.shape.length >= rank)) return other;
  }
  return null;
}

/** Removes nodes that hand on their input as it is, and those that ask for a shape that is known. */
function removeIdle(graph: Graph, draft: FusionDraft): void {
  for (const node of [...graph.nodes()]) {
    const shape = node.is('Shape') && node.attributes.size === 0 ? node.input(0)?.shape : undefined;
    if (shape?.every((dim) => typeof dim === 'number') === true && !node.output().isGraphOutput) {
      const dims = Tensor.from('int64', [shape.length], BigInt64Array.from(shape as number[], BigInt));
      graph.replaceAllUses(node.output(), graph.addInitializer(graph.uniqueName('fusion'), dims));
      graph.remove(node);
      continue;
    }
    const input = handedOn(node, draft);
    if (input === null || node.output().isGraphOutput || input.graph !== graph) continue;
    graph.replaceAllUses(node.output(), input);
    graph.remove(node);
  }
}

/**
 * `Q D Q D` in a row becomes `Q D`, with the part of the range that both hold. Where the first tensor has further
 * readers, both pairs must quantize alike.
 */
function removeDoublePairs(graph: Graph, draft: FusionDraft): void {
  for (const inner of [...graph.nodes()]) {
    if (!inner.isAttached || !isDequantize(inner)) continue;
    const outer = inner.input(0)?.producer;
    const next = onlyReader(inner.output())?.node;
    if (!isQuantize(outer) || outer.output().isGraphOutput || !isQuantize(next)) continue;
    if (next.output().isGraphOutput || next.output().isUnused) continue;
    const readers = next.output().uses.map((use) => use.node);
    if (!readers.every(isDequantize)) continue;
    const [first, second] = [draft.parameters(inner), draft.parameters(next)];
    if (!sameParameters(draft.parameters(outer), first)) continue;
    if (!readers.every((last) => sameParameters(second, draft.parameters(last)))) continue;
    if (first.dtype !== second.dtype || limitsOf(first.dtype) === undefined) continue;
    if (!sameParameters(first, second)) {
      if (onlyReader(outer.output()) === undefined) continue;
      const [low, high] = limitsOf(first.dtype) as readonly [number, number];
      const bound = (level: number, { scale, zeroPoint }: typeof first): number =>
        Math.fround((level - (zeroPoint as number)) * (scale as number));
      const minimum = Math.max(bound(low, first), bound(low, second));
      const maximum = Math.min(bound(high, first), bound(high, second));
      const scale = Math.fround((maximum - minimum) / (high - low));
      const joined = { ...first, scale, zeroPoint: Math.round(low - minimum / scale) };
      for (const node of [outer, ...readers]) draft.setParameters(node, joined);
    }
    for (const last of readers) graph.setInput(last, 0, outer.output());
    graph.remove(next);
    graph.remove(inner);
  }
}

/** A constant of `elements` integers. Only its type is looked at: the numbers are the runtime's. */
function integers(
  graph: Graph,
  dtype: 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32',
  shape: readonly number[],
): Value {
  const bytes = byteLengthOf(dtype, elementsOf(shape));
  const source = lazyTensor(dtype, shape, () => Tensor.fromBytes(dtype, shape, new Uint8Array(bytes)));
  return graph.addInitializer(graph.uniqueName('fusion'), source);
}

/** Constants that are quantized are integers before the model runs. */
function foldQuantizers(graph: Graph): void {
  for (const node of [...graph.nodes()]) {
    const source = isQuantize(node) ? constantOf(node.input(0)) : undefined;
    const dtype = isQuantize(node) ? integerType(node) : undefined;
    if (source === undefined || node.output().isGraphOutput) continue;
    if (dtype !== 'int8' && dtype !== 'uint8' && dtype !== 'int16' && dtype !== 'uint16') continue;
    graph.replaceAllUses(node.output(), integers(graph, dtype, source.shape));
    graph.remove(node);
  }
}

/** Quantizers of one value with one zero point and equal scales become one. Equal zero points stay apart. */
function mergeQuantizers(graph: Graph, draft: FusionDraft): void {
  for (const node of [...graph.nodes()]) {
    const input = node.isAttached && isQuantize(node) ? node.input(0) : null;
    if (input === null) continue;
    for (const { node: other } of input.uses) {
      if (other === node || other.graph !== graph || !isQuantize(other) || other.output().isGraphOutput)
        continue;
      if (other.input(0) !== input || other.input(2) !== node.input(2)) continue;
      if (!sameParameters(draft.parameters(node), draft.parameters(other))) continue;
      for (const use of other.output().uses) use.node.graph.setInput(use.node, use.index, node.output());
      graph.remove(other);
    }
  }
}

function sameLength(dim: Dim | undefined, other: Dim | undefined): boolean {
  return dim !== undefined && dim !== null && dim === other;
}

/** Whether a tensor of `shape` can be the third operand of a `Gemm` of rows `a` and columns `n`. */
function fitsGemm(
  shape: readonly Dim[],
  rows: Dim | undefined,
  columns: Dim | undefined,
  matrix: boolean,
): boolean {
  if (shape.length === 1) return sameLength(shape[0], columns);
  if (shape.length !== 2 || !matrix) return false;
  if (shape[0] === 1) return sameLength(shape[1], columns);
  return sameLength(shape[0], rows) && (shape[1] === 1 || sameLength(shape[1], columns));
}

/** A product and the addition of a vector become a `Gemm`, between reshapes where the input has other than 2 axes. */
function joinProductsAndBiases(graph: Graph, draft: FusionDraft): void {
  for (const product of [...graph.nodes()]) {
    if (!product.isAttached || !product.is('MatMul')) continue;
    const use = onlyReader(product.output());
    const add = use?.node;
    if (use === undefined || add === undefined || !add.is('Add') || add.graph !== graph) continue;
    const [a, b, bias] = [product.input(0), product.input(1), add.input(1 - use.index)];
    const [rows, columns, extra] = [a?.shape, b?.shape, bias?.shape ?? constantOf(bias)?.shape];
    if (rows === undefined || columns?.length !== 2 || extra === undefined || bias === null) continue;
    const matrix = rows.length === 2;
    if (!matrix && [...rows, ...columns].some((dim) => typeof dim !== 'number')) continue;
    if (!fitsGemm(extra, rows[0], columns[1], matrix)) continue;
    const reshape = (input: Value, shape: readonly number[]): Value => {
      const target = Tensor.from('int64', [shape.length], BigInt64Array.from(shape, BigInt));
      const constant = graph.addInitializer(graph.uniqueName('fusion'), target);
      const node = graph.addNode({ opType: 'Reshape', inputs: [input, constant] }, 1, { before: add });
      draft.standsFor.set(node, []);
      return node.output();
    };
    const whole = rows as readonly number[];
    const length = whole.at(-1) ?? 1;
    const flat = matrix
      ? (a as Value)
      : reshape(a as Value, [whole.slice(0, -1).reduce((all, dim) => all * dim, 1), length]);
    const gemm = graph.addNode({ opType: 'Gemm', inputs: [flat, b, bias] }, 1, { before: add });
    draft.standsFor.set(gemm, [product.name, add.name]);
    const result = matrix
      ? gemm.output()
      : reshape(gemm.output(), [...whole.slice(0, -1), columns[1] as number]);
    result.type = add.output().type;
    graph.replaceAllUses(add.output(), result);
    graph.remove(add);
    graph.remove(product);
  }
}

/** Puts a pair on the edges from `value` to some of its readers, and to the graph output that it is. */
function insertPair(
  graph: Graph,
  draft: FusionDraft,
  edge: { readonly value: Value; readonly readers: readonly Node[]; readonly like: Node },
): void {
  const { value, readers, like } = edge;
  const uses = value.uses.filter((use) => readers.includes(use.node));
  const [before] = readers;
  const quantize = draft.addPairNode(graph, 'QuantizeLinear', value, like, before);
  for (const { node, index } of uses) {
    const dequantize = draft.addPairNode(graph, 'DequantizeLinear', quantize.output(), like, before);
    dequantize.output().type = value.type;
    node.graph.setInput(node, index, dequantize.output());
  }
  if (!value.isGraphOutput) return;
  const dequantize = draft.addPairNode(graph, 'DequantizeLinear', quantize.output(), like);
  dequantize.output().type = value.type;
  graph.replaceAllUses(value, dequantize.output());
  graph.setInput(quantize, 0, value);
}

const carries = (node: Node | undefined, rules: IntegerRules): node is Node =>
  node !== undefined && node.domain === '' && rules.carriesPairs.includes(node.opType);

/** Whether scale and zero point are constants of one element; the zero point may be left out. */
function constantParameters(node: Node, draft: FusionDraft): boolean {
  const { scale, zeroPoint } = draft.parameters(node);
  return scale !== undefined && zeroPoint !== undefined;
}

/** A dequantized tensor that is moved about first: the pair is repeated behind what moves it. */
function carryPairsForward(graph: Graph, draft: FusionDraft, rules: IntegerRules): void {
  for (const dequantize of [...graph.nodes()]) {
    if (!isDequantize(dequantize) || !constantParameters(dequantize, draft)) continue;
    const waiting: (Node | undefined)[] = [onlyReader(dequantize.output())?.node];
    while (waiting.length > 0) {
      const node = waiting.pop();
      if (!carries(node, rules) || node.graph !== graph) continue;
      const value = node.output();
      const readers = value.uses.map((use) => use.node);
      // Where one reader quantizes already, the pair stays where it is.
      if (readers.some((reader) => isQuantize(reader) || reader.graph !== graph)) continue;
      insertPair(graph, draft, { value, readers, like: dequantize });
      waiting.push(...readers);
    }
  }
}

/** A tensor that is moved about before it is quantized: the pair is repeated before what moves it. */
function carryPairsBackward(graph: Graph, draft: FusionDraft, rules: IntegerRules, atInputs = true): void {
  for (const quantize of [...graph.nodes()]) {
    if (!isQuantize(quantize) || !constantParameters(quantize, draft)) continue;
    let value = quantize.input(0);
    while (value !== null && onlyReader(value) !== undefined) {
      const mover: Node | undefined = value.producer ?? undefined;
      if (!carries(mover, rules) || mover.graph !== graph) break;
      const source = mover.input(0);
      if (source === null || isDequantize(source.producer)) break;
      if (source.producer !== null && onlyReader(source) === undefined) break;
      if (source.producer === null && !atInputs) break;
      insertPair(graph, draft, { value: source, readers: [mover], like: quantize });
      value = source;
    }
  }
}

/** Whether a result goes, alone, to a quantizer, through rectifiers at most. */
function leadsToQuantizer(node: Node): boolean {
  let current = node;
  for (;;) {
    if (current.outputs.length !== 1 || current.output().useCount !== 1) return false;
    const reader = current.output().uses[0]?.node;
    if (reader === undefined) return false;
    if (isQuantize(reader)) return true;
    if (!reader.is('Relu') && !reader.is('Clip')) return false;
    current = reader;
  }
}

/** Float weights and biases between a dequantized input and a quantized output are quantized, one scale for all. */
function quantizeFloatWeights(graph: Graph, draft: FusionDraft, rules: IntegerRules): void {
  for (const node of [...graph.nodes()]) {
    if (node.domain !== '' || !rules.quantizesWeights.includes(node.opType)) continue;
    const [input, weight, bias] = [node.input(0)?.producer, node.input(1), node.input(2)];
    if (!isDequantize(input) || draft.parameters(input).scale === undefined || !leadsToQuantizer(node))
      continue;
    const stored = isDequantize(weight?.producer) ? weight.producer : undefined;
    const floats = stored === undefined ? weight?.initializer : undefined;
    if (stored === undefined && floats?.dtype !== 'float32') continue;
    const biasSource = bias?.initializer;
    if (bias !== null && biasSource?.shape.length !== 1) continue;
    if (stored !== undefined && (bias === null || !scalesFitBias(node, stored, biasSource))) continue;
    const constant = (source: TensorSource, dtype: 'int8' | 'int32'): Value => {
      const inputs = [
        integers(graph, dtype, source.shape),
        draft.addScalar(graph, 'float32', Number.NaN),
        draft.addScalar(graph, dtype, 0),
      ];
      const made = graph.addNode({ opType: 'DequantizeLinear', inputs }, 1, { before: node });
      draft.standsFor.set(made, []);
      return made.output();
    };
    if (stored === undefined && floats !== undefined) {
      graph.setInput(node, 1, constant(floats, 'int8'));
      for (const name of draft.namesOf(node)) draft.selfQuantized.add(name);
    }
    if (biasSource !== undefined) graph.setInput(node, 2, constant(biasSource, 'int32'));
  }
}

/** Whether quantized weights have one scale, or one per element of the bias along the axis of the outputs. */
function scalesFitBias(node: Node, stored: Node, bias: TensorSource | undefined): boolean {
  const scale = constantOf(stored.input(1));
  const weight = stored.input(0)?.shape ?? constantOf(stored.input(0))?.shape;
  if (scale === undefined || weight === undefined) return false;
  if (scale.shape.length === 0 || (scale.shape.length === 1 && scale.shape[0] === 1)) return true;
  const number = (name: string, of: Node, fallback: number): number => {
    const found = of.attributes.get(name);
    return found?.kind === 'int' ? Number(found.value) : fallback;
  };
  if (scale.shape.length !== 1 || scale.shape[0] !== bias?.shape[0] || number('block_size', stored, 0) !== 0)
    return false;
  const axis = number('axis', stored, 1);
  const expected = node.is('Gemm') && number('transB', node, 0) === 0 ? 1 : 0;
  return (axis < 0 ? axis + weight.length : axis) === expected;
}

/** Every reader gets a dequantizer of its own. */
function separateDequantizers(graph: Graph, draft: FusionDraft): void {
  for (const node of [...graph.nodes()]) {
    if (!isDequantize(node)) continue;
    const value = node.output();
    const uses = value.uses.filter((use) => use.node.graph === graph);
    const shared = value.isGraphOutput || uses.length < value.useCount;
    for (const { node: reader, index } of shared ? uses : uses.slice(1)) {
      const copy = draft.addPairNode(graph, 'DequantizeLinear', node.input(0) as Value, node, reader);
      for (const [name, item] of node.attributes) graph.setAttribute(copy, name, item);
      copy.output().type = value.type;
      graph.setInput(reader, index, copy.output());
    }
  }
}
