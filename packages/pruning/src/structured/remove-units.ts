import {
  type Attribute,
  assertValid,
  attribute,
  constantOf,
  type Dim,
  errors,
  type Graph,
  inferShapes,
  type Model,
  type Node,
  Tensor,
  type Value,
} from '@lithe/core';
import { AxisModel, type AxisOptions } from './axis-model.ts';
import type { AxisEdit } from './axis-rule.ts';
import { type KeptIndices, keptIndices, type PruningGroup, type Removal } from './pruning-group.ts';
import { removeDead } from './remove-dead.ts';
import { type AxisCut, sliceSource } from './slice-tensor.ts';
import { unshareVectors } from './unshare-vectors.ts';

/**
 * Removes units of one group from a model, in place: see {@link removeAll}.
 *
 * @param units numbers of the units that go
 * @throws {LitheError} OPTIONS_INVALID, as {@link removeAll} does
 * @example
 * ```ts
 * import { pruningGroups, removeUnits } from '@lithe/pruning';
 * import { cnn } from '@lithe/training';
 *
 * const model = await cnn();
 * const [first] = await pruningGroups(model);
 * if (first !== undefined) await removeUnits(model, first, [0, 5]);
 * model.graph.value('conv1.weight')?.shape?.join(); // => '30,3,3,3'
 * model.graph.value('conv2.weight')?.shape?.join(); // => '64,30,3,3'
 * ```
 */
export async function removeUnits(
  model: Model,
  group: PruningGroup,
  units: readonly number[],
): Promise<void> {
  await removeAll(model, [{ group, units }]);
}

/**
 * Removes units of several groups from a model, in place. Constants are cut (those in files when they are read), sizes
 * that nodes state are brought in line, shapes are inferred anew, and the result is verified. Groups must have been
 * found in this model as it is; after a removal they are found anew.
 *
 * @throws {LitheError} OPTIONS_INVALID when a group is not prunable, does not fit the model, a unit is pinned or does
 *   not exist, or nothing would be left of an axis; MODEL_INVALID when the result is not sound: the model is then
 *   half edited and to be thrown away
 */
export async function removeAll(
  model: Model,
  removals: readonly Removal[],
  options: AxisOptions = {},
): Promise<void> {
  unshareVectors(model);
  const axes = await AxisModel.of(model, options);
  check(model, removals);
  const kept = keptIndices(model, removals);
  if (kept.size === 0) return;
  checkKept(kept);
  const before = new Map<Value, readonly Dim[]>();
  for (const value of kept.keys()) before.set(value, constantOf(value)?.shape ?? value.shape ?? []);
  rewriteNodes(axes, kept);
  for (const [value, byAxis] of kept) {
    const source = constantOf(value);
    if (source === undefined) continue;
    const cuts: AxisCut[] = [...byAxis].map(([axis, indices]) => ({ axis, kept: indices }));
    // What is cut most comes first, so that less is copied afterwards.
    cuts.sort((left, right) => ratio(left, source.shape) - ratio(right, source.shape));
    replaceConstant(model.graph, value, sliceSource(source, cuts));
  }
  const { problems } = await inferShapes(model, {
    opset: axes.opset,
    overwrite: true,
    strict: false,
    signal: options.signal,
  });
  // What contradicted its operator before may do so still.
  if (problems.length > axes.problems.length) throw errors.modelInvalid(problems);
  checkResult(kept, before);
  assertValid(model, { opset: axes.opset });
}

const ratio = ({ axis, kept }: AxisCut, shape: readonly number[]): number =>
  kept.length / (shape[axis] as number);

function check(model: Model, removals: readonly Removal[]): void {
  const problems: string[] = [];
  for (const { group, units } of removals) {
    if (!group.prunable) {
      const why = group.obstacles.map(({ target, reason }) => `"${target}": ${reason}`).join('; ');
      problems.push(`Group "${group.name}" cannot be pruned (${why}).`);
    }
    for (const unit of units) {
      if (!Number.isInteger(unit) || unit < 0 || unit >= group.units)
        problems.push(`Group "${group.name}" has units 0 to ${group.units - 1}, not ${unit}.`);
      const pin = group.pinned.get(unit);
      if (pin !== undefined) problems.push(`Unit ${unit} of group "${group.name}" must stay (${pin}).`);
    }
    for (const { value, axis, length: former } of group.axes) {
      const found = model.graph.value(value);
      const length = constantOf(found)?.shape[axis] ?? found?.shape?.[axis];
      if (length !== former) {
        problems.push(
          `Group "${group.name}" was found in another model: axis ${axis} of "${value}" had ${former} indices and has ${length ?? 'none'} now.`,
        );
      }
    }
  }
  if (problems.length > 0) {
    throw errors.optionsInvalid('removeAll', problems, 'Find the groups anew after each change of a model.');
  }
}

function checkKept(kept: KeptIndices): void {
  for (const [value, byAxis] of kept) {
    for (const [axis, indices] of byAxis) {
      if (indices.length === 0) {
        throw errors.optionsInvalid(
          'removeAll',
          [`Nothing would be left of axis ${axis} of "${value.name}".`],
          'Keep at least one unit of every group, and of every part of one.',
        );
      }
    }
  }
}

/** The shapes that were inferred must be those that were meant: a rule that says otherwise is wrong. */
function checkResult(kept: KeptIndices, before: ReadonlyMap<Value, readonly Dim[]>): void {
  const problems: string[] = [];
  for (const [value, byAxis] of kept) {
    for (const [axis, indices] of byAxis) {
      const length = constantOf(value)?.shape[axis] ?? value.shape?.[axis];
      if (length === indices.length || !value.graph.value(value.name)) continue;
      problems.push(
        `Axis ${axis} of "${value.name}" was to shrink from ${before.get(value)?.[axis]} to ${indices.length}, and is ${length ?? 'unknown'} now.`,
      );
    }
  }
  if (problems.length > 0) throw errors.modelInvalid(problems);
}

function rewriteNodes(axes: AxisModel, kept: KeptIndices): void {
  const nodes = new Set<Node>();
  for (const value of kept.keys()) {
    if (value.producer !== null && !value.producer.is('Constant')) nodes.add(value.producer);
    for (const { node } of value.uses) if (node.graph === axes.graph) nodes.add(node);
  }
  const replaced: Value[] = [];
  for (const node of nodes) axes.ruleOf(node).rewrite?.(editOf(axes, node, { kept, replaced }));
  for (const value of replaced) removeDead(axes.graph, value);
}

function editOf(
  axes: AxisModel,
  node: Node,
  state: { readonly kept: KeptIndices; readonly replaced: Value[] },
): AxisEdit {
  const valueAt = (side: 'input' | 'output', index: number): Value | null =>
    side === 'input' ? node.input(index) : (node.outputs[index] ?? null);
  const keptAt = (side: 'input' | 'output', index: number, axis: number): readonly number[] | undefined => {
    const value = valueAt(side, index);
    return value === null ? undefined : state.kept.get(value)?.get(axis);
  };
  return {
    ...axes.context(node),
    kept: keptAt,
    lengthAfter: (side, index, axis) => {
      const value = valueAt(side, index);
      return (
        keptAt(side, index, axis)?.length ?? (value === null ? undefined : axes.slot(value, axis)?.length)
      );
    },
    setIntegers: (index, values, shape = [values.length]) => {
      const before = node.input(index);
      const tensor =
        before?.dtype === 'int32'
          ? Tensor.from('int32', shape, Int32Array.from(values))
          : Tensor.from('int64', shape, BigInt64Array.from(values, bigintOf));
      const name = axes.graph.uniqueName(`${node.output().name}_${index}_sizes`);
      axes.graph.setInput(node, index, axes.graph.addInitializer(name, tensor));
      if (before !== null) state.replaced.push(before);
    },
    setAttribute: (name: string, value: Attribute | undefined) => axes.graph.setAttribute(node, name, value),
  };
}

const INT64_MAX = (1n << 63n) - 1n;

/** Bounds beyond the safe integers stand for "as far as it goes". */
function bigintOf(value: number): bigint {
  if (Number.isSafeInteger(value)) return BigInt(value);
  return value < 0 ? -INT64_MAX : INT64_MAX;
}

/** Gives a constant new contents, whether an initializer or a node holds it. */
function replaceConstant(graph: Graph, value: Value, source: Parameters<typeof attribute.tensor>[0]): void {
  const { producer } = value;
  if (producer === null) {
    graph.setInitializer(value, source);
    return;
  }
  for (const name of [...producer.attributes.keys()]) graph.setAttribute(producer, name, undefined);
  graph.setAttribute(producer, 'value', attribute.tensor(source));
}
