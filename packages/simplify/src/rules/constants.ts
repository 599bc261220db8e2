import {
  attribute,
  constantOf,
  type Dim,
  elementsOf,
  isLitheError,
  isStaticShape,
  type Node,
  type OpSet,
  type RewriteContext,
  type RewriteRule,
  Tensor,
  type Value,
} from '@lithe/core';
import { evaluateNode } from '@lithe/core/reference';
import { integersOf } from '../shared/attributes.ts';
import { expectedBytes, freedBytes, type OperandTexts } from '../shared/freed-bytes.ts';
import { allowsZero } from './movement.ts';

/** Largest result, in bytes, that is computed without knowing its size first. */
const UNKNOWN_SIZE_INPUT = 4096;

/** Larger results are not computed: they would have to be held in memory until the model is written. */
const MAX_FOLDED_BYTES = 256 * 1024 * 1024;

/** Operators whose results can be far larger than their inputs. */
const growing: ReadonlySet<string> = new Set([
  'ConstantOfShape',
  'Expand',
  'Tile',
  'Range',
  'Resize',
  'Pad',
  'OneHot',
  'EyeLike',
  'NonZero',
]);

/** Operators that expand compressed weights: folding them would undo the compression. */
const compressed: ReadonlySet<string> = new Set(['DequantizeLinear']);

/** Options of {@link foldConstants}. */
export interface FoldOptions {
  /** Operators that are known. */
  readonly opset: OpSet;
  /** How many bytes a result may take beyond the constants that it replaces. */
  readonly growthBytes: number;
}

/** Evaluates nodes whose inputs are all constant. */
export function foldConstants({ opset, growthBytes }: FoldOptions): RewriteRule {
  const texts: OperandTexts = new WeakMap();
  return {
    name: 'simplify/fold-constants',
    summary: 'Computes nodes whose inputs are all constant, unless the result would make the model larger.',
    anchors: ['*'],
    depth: 0,
    async apply(node, context) {
      const def = opset.of(node);
      if (def === undefined || !def.deterministic || node.is('Constant') || compressed.has(node.opType))
        return undefined;
      if (node.domain !== '' || node.subgraphs.length > 0 || node.inputs.length === 0) return undefined;
      const inputs = node.inputs.map((input) => (input === null ? null : constantOf(input)));
      if (inputs.includes(undefined) || inputs.every((input) => input === null)) return undefined;
      if (
        node.outputs.some((output) => output.name === '') ||
        node.outputs.every((output) => output.isUnused)
      )
        return undefined;
      const expected = expectedBytes(node);
      const freed = await freedBytes(node, growthBytes, context, texts);
      const read = inputs.reduce((sum, input) => sum + (input?.byteLength ?? 0), 0);
      if (expected === undefined && (growing.has(node.opType) || read > UNKNOWN_SIZE_INPUT)) {
        return { skip: { code: 'size-unknown', reason: 'the size of the result is not known beforehand' } };
      }
      const larger = {
        skip: { code: 'larger', reason: `the result takes more than the ${freed} bytes it replaces` },
      };
      if (expected !== undefined && expected > freed + growthBytes) return larger;
      if (read > MAX_FOLDED_BYTES) {
        return { skip: { code: 'too-large', reason: `it reads ${read} bytes, which would stay in memory` } };
      }
      const loaded = new Array<Tensor | null>(node.inputs.length).fill(null);
      for (const [index, input] of node.inputs.entries())
        if (input !== null) loaded[index] = await context.load(input);
      const results = evaluate(node, loaded, freed + growthBytes);
      if (typeof results === 'string') return { skip: { code: 'not-computed', reason: results } };
      if (results === undefined) return undefined;
      if (results.reduce((sum, tensor) => sum + tensor.byteLength, 0) > freed + growthBytes) return larger;
      const label = `${node.opType} "${node.name}"`;
      for (const [index, tensor] of results.entries())
        replaceByConstant(node, node.output(index), tensor, context);
      return `compute ${label}`;
    },
  };
}

/** Puts a constant in the place of a node's output; an output of the graph is made by a Constant node, to keep its name. */
function replaceByConstant(node: Node, output: Value, tensor: Tensor, context: RewriteContext): void {
  if (output.isUnused) return;
  if (output.outputOf.length === 0) {
    context.replace(output, context.addConstant(output.name, tensor));
    return;
  }
  const made = context.insert(node, {
    opType: 'Constant',
    inputs: [],
    attributes: { value: attribute.tensor(tensor) },
  });
  context.replace(output, made.output());
}

function evaluate(
  node: Node,
  inputs: readonly (Tensor | null)[],
  limit: number,
): readonly Tensor[] | string | undefined {
  try {
    return evaluateNode(node, inputs, { maxOutputBytes: Math.max(limit, 16) });
  } catch (error) {
    // What cannot be computed here is left to the runtime, and reported.
    if (isLitheError(error)) return error.message;
    throw error;
  }
}

/** Sizes that inference knows, as numbers or symbols. */
export type KnownSizes = ReadonlyMap<Value, readonly Dim[]>;

/** Replaces computed sizes by constants where every one is known. */
export function foldShapes(sizes: KnownSizes): RewriteRule {
  return {
    name: 'simplify/fold-shapes',
    summary:
      'Replaces what is computed from the sizes of tensors by a constant where inference knows every number.',
    anchors: [
      'Shape',
      'Size',
      'Gather',
      'Slice',
      'Concat',
      'Squeeze',
      'Unsqueeze',
      'Cast',
      'Add',
      'Sub',
      'Mul',
      'Div',
      'Reshape',
      'Split',
      'ReduceProd',
      'Min',
      'Max',
      'Identity',
    ],
    depth: 0,
    apply(node, context) {
      const output = node.output();
      const known = sizes.get(output);
      const { dtype, shape } = output;
      if (known === undefined || node.outputs.length !== 1 || node.domain !== '') return undefined;
      if ((dtype !== 'int64' && dtype !== 'int32') || !isStaticShape(shape) || output.isUnused)
        return undefined;
      if (elementsOf(shape) !== known.length || known.length > 256) return undefined;
      if (!known.every((dim) => typeof dim === 'number' && Number.isSafeInteger(dim))) return undefined;
      const numbers = known as readonly number[];
      const tensor =
        dtype === 'int64'
          ? Tensor.from('int64', shape, BigInt64Array.from(numbers, BigInt))
          : Tensor.from('int32', shape, Int32Array.from(numbers));
      replaceByConstant(node, output, tensor, context);
      return `replace ${node.opType} "${node.name}" by [${numbers.join(', ')}]`;
    },
  };
}

/** Gives Reshape a constant target where all sizes but one are known. */
export const foldReshapeTarget: RewriteRule = {
  name: 'simplify/fold-reshape-target',
  summary:
    'Gives a Reshape with a computed target a constant one: known sizes as numbers, a copied size as 0, one unknown as -1.',
  anchors: ['Reshape'],
  depth: 0,
  apply(node, context) {
    const [input, target] = [node.input(0), node.input(1)];
    const shape = node.output().shape;
    if (input === null || target === null || shape === undefined || context.constant(target) !== undefined)
      return undefined;
    const plan = planTarget(input.shape, shape);
    if (plan === undefined) return undefined;
    const tensor = Tensor.from('int64', [plan.length], BigInt64Array.from(plan, BigInt));
    if (allowsZero(node)) context.setAttribute(node, 'allowzero', undefined);
    context.setInput(node, 1, context.addConstant(`${node.name}_shape`, tensor));
    return `give Reshape "${node.name}" the constant target [${plan.join(', ')}]`;
  },
};

/** A target for a known result shape: `undefined` when more than one size would be left open. */
function planTarget(
  input: readonly Dim[] | undefined,
  output: readonly Dim[],
): readonly number[] | undefined {
  const plan: number[] = [];
  let open = 0;
  for (const [axis, dim] of output.entries()) {
    // A zero would be read as "copy", and beside a zero -1 means nothing.
    if (dim === 0) return undefined;
    if (typeof dim === 'number') plan.push(dim);
    else if (dim !== null && input?.[axis] === dim) plan.push(0);
    else {
      plan.push(-1);
      open++;
    }
  }
  return open <= 1 ? plan : undefined;
}

/** A Slice of one index whose axis is squeezed. */
export const sliceSqueezeToGather: RewriteRule = {
  name: 'simplify/slice-squeeze-to-gather',
  summary: 'Makes a Slice of one index followed by a Squeeze of that axis one Gather by a scalar.',
  anchors: ['Squeeze'],
  depth: 1,
  apply(node, context) {
    const slice = node.input(0)?.producer;
    const source = slice?.input(0);
    const rank = source?.shape?.length;
    if (
      !slice?.is('Slice') ||
      !source ||
      slice.graph !== node.graph ||
      rank === undefined ||
      !node.is('Squeeze')
    )
      return undefined;
    const normal = (axis: number | undefined): number | undefined =>
      axis === undefined ? undefined : axis < 0 ? axis + rank : axis;
    const [starts, ends, axes, squeezed] = [1, 2, 3]
      .map((index) => integersOf(context, slice, index))
      .concat([integersOf(context, node, 1)]);
    const steps = slice.input(4) === null ? [1] : integersOf(context, slice, 4);
    if (
      starts?.length !== 1 ||
      ends?.length !== 1 ||
      axes?.length !== 1 ||
      squeezed?.length !== 1 ||
      steps?.[0] !== 1
    )
      return undefined;
    const axis = normal(axes[0]);
    const start = starts[0] as number;
    if (axis === undefined || axis !== normal(squeezed[0])) return undefined;
    const size = source.shape?.[axis];
    // An out-of-range slice is empty, an out-of-range Gather an error: the index must be known to be inside.
    const inside = typeof size === 'number' && start >= -size && start < size;
    if (
      !inside ||
      ends[0] !== start + 1 ||
      !slice.output().uses.every((use) => use.node === node) ||
      slice.output().outputOf.length > 0
    )
      return undefined;
    const index = context.addConstant(
      `${node.name}_index`,
      Tensor.from('int64', [], BigInt64Array.of(BigInt(start))),
    );
    const made = context.insert(
      node,
      {
        opType: 'Gather',
        inputs: [source, index],
        attributes: { axis: attribute.int(axis) },
        name: node.name,
      },
      [{ type: node.output().type }],
    );
    context.replace(node.output(), made.output());
    return `make Slice "${slice.name}" and Squeeze "${node.name}" a Gather`;
  },
};
