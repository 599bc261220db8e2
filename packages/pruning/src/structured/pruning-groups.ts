import { constantOf, type Dim, isLitheError, type Model, type Node, type Value } from '@lithe/core';
import { AxisModel, type AxisOptions, type BoundFlow, endKey, type Slot } from './axis-model.ts';
import type { WeightRole } from './axis-rule.ts';
import { checkProtected } from './check-protected.ts';
import { type Closure, closureOf, type Obstacle } from './closure.ts';
import { CutCost, type ShapesAfter } from './cut-cost.ts';
import type { GroupAxis, GroupWeight, PruningGroup } from './pruning-group.ts';
import { removeAll } from './remove-units.ts';
import { type UnitSpan, unitAt, unitsOf } from './unit-span.ts';
import { unshareVectors } from './unshare-vectors.ts';

/** How {@link pruningGroups} looks. */
export interface GroupOptions extends AxisOptions {
  /** Sizes that symbols stand for when multiplications are counted: 1 for the batch and 64 for others by default. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /**
   * What to cut attention by: whole `heads` (the default), the `width` of each head, or `both` as alternatives. The same
   * choice is made wherever an axis is a product of two others and either can be cut.
   */
  readonly attention?: 'heads' | 'width' | 'both' | undefined;
  /** Names of nodes and values that stay as they are, with all that hangs on them. */
  readonly protect?: readonly string[] | undefined;
}

/** A closure with where it started. */
interface Found {
  readonly start: Node;
  readonly slot: Slot;
  readonly closure: Closure;
  readonly preference: number;
}

/** Finds the closures of all places where weights make channels, each index in one of them. */
function findClosures(axes: AxisModel, preference: number): readonly Found[] {
  const found: Found[] = [];
  const covered = new Map<Slot, Uint8Array>();
  for (const node of axes.graph.nodes()) {
    for (const start of axes.flow(node).flow.starts ?? []) {
      const value = node.outputs[start.index];
      const slot = value === undefined || value.name === '' ? undefined : axes.slot(value, start.axis);
      if (slot === undefined || slot.length < 2) continue;
      const done = covered.get(slot);
      const indices: number[] = [];
      for (let index = 0; index < slot.length; index++) if (done?.[index] !== 1) indices.push(index);
      if (indices.length === 0) continue;
      const closure = closureOf(axes, slot, { indices, preference });
      found.push({ start: node, slot, closure, preference });
      for (const [reached, span] of closure.slots) {
        const marks = covered.get(reached) ?? new Uint8Array(reached.length);
        covered.set(reached, marks);
        for (let place = 0; place < span.units.length; place++)
          if ((span.units[place] as number) >= 0) marks[span.start + place] = 1;
      }
    }
  }
  return found;
}

/** What a constant is for, at the first node that says so, through nodes that only move its elements. */
function useOf(
  axes: AxisModel,
  slot: Slot,
): {
  readonly role: WeightRole | 'other';
  readonly direction: 'out' | 'in';
  readonly node: Node | undefined;
} {
  let other: { role: 'other'; direction: 'out' | 'in'; node: Node | undefined } = {
    role: 'other',
    direction: 'out',
    node: undefined,
  };
  const seen = new Set<Slot>([slot]);
  for (const { value, axis } of seen) {
    for (const { node, index } of value.uses) {
      if (node.graph !== axes.graph) continue;
      const bound = axes.flow(node);
      const key = endKey('input', index, axis);
      const ends = tiesAt(bound, key).flatMap((tie) => tie.ends);
      const outputs = ends.filter((end) => end.key.startsWith('o'));
      if (node.outputs.every((output) => output.name === '' || axes.isStatic(output))) {
        for (const end of outputs) seen.add(end.slot);
        continue;
      }
      const direction = outputs.length > 0 ? 'out' : 'in';
      const role = bound.flow.roles?.[index];
      if (role !== undefined) return { role, direction, node };
      other = { role: 'other', direction, node };
    }
  }
  return other;
}

function tiesAt(bound: BoundFlow, key: string): BoundFlow['choices'][number] {
  const chosen = bound.choices.flatMap((options) =>
    options.filter((option) => option.ends.some((end) => end.key === key)),
  );
  return [...(bound.ties.get(key) ?? []), ...chosen];
}

/** An axis of a group; what is said of each of its indices is only written out when it is read. */
function axisOf<T extends object>(slot: Slot, span: UnitSpan, more: T): GroupAxis & T {
  let units: Int32Array | undefined;
  const axis: GroupAxis = {
    value: slot.value.name,
    axis: slot.axis,
    length: slot.length,
    span,
    get units(): Int32Array {
      units ??= unitsOf(span, slot.length);
      return units;
    },
  };
  return Object.assign(axis, more);
}

/** Shapes of the values that are cut, when one unit goes. */
function shapesWithout(slots: Closure['slots'], removed: number): ShapesAfter {
  const after = new Map<Value, Dim[]>();
  for (const [{ value, axis, length }, { units }] of slots) {
    let gone = 0;
    for (const unit of units) if (unit === removed) gone++;
    if (gone === 0) continue;
    const shape = after.get(value) ?? [...(constantOf(value)?.shape ?? value.shape ?? [])];
    after.set(value, shape);
    shape[axis] = length - gone;
  }
  return after;
}

function weightsOf(axes: AxisModel, closure: Closure): readonly GroupWeight[] {
  const weights: GroupWeight[] = [];
  for (const [slot, span] of closure.slots) {
    const source = constantOf(slot.value);
    if (source === undefined) continue;
    const { role, direction, node } = useOf(axes, slot);
    const use = { role, direction, node: node?.name ?? '', op: node?.op ?? '', tensor: source };
    weights.push(axisOf(slot, span, use));
  }
  return weights;
}

/** Whether heads are cut: the batch axis of a product of two values that are both computed shrinks. */
function kindOf(axes: AxisModel, closure: Closure, choice: number): PruningGroup['kind'] {
  const reaches = (value: Value | null, axis: number): boolean => {
    const slot = value === null ? undefined : axes.slot(value, axis);
    return slot !== undefined && closure.slots.has(slot);
  };
  for (const node of closure.nodes) {
    if (node.is('MatMul') && !node.inputs.some((input) => input !== null && axes.isStatic(input))) {
      const output = node.output();
      const rank = output.shape?.length ?? 0;
      for (let axis = 0; axis < rank - 2; axis++) if (reaches(output, axis)) return 'head';
      if (closure.hasChoice) return 'head-width';
    }
    const packed = ['MultiHeadAttention', 'GroupQueryAttention', 'Attention'];
    if (node.domain === 'com.microsoft' && packed.includes(node.opType))
      return choice === 0 ? 'head' : 'head-width';
  }
  return 'channel';
}

function obstaclesOf(found: Found, protect: ReadonlySet<string>): readonly Obstacle[] {
  const { closure } = found;
  const obstacles = [...closure.obstacles];
  for (const [slot] of closure.slots) {
    const { name, producer } = slot.value;
    const target = protect.has(name)
      ? name
      : protect.has(producer?.name ?? '')
        ? (producer?.name ?? '')
        : undefined;
    if (target === undefined || obstacles.some((one) => one.code === 'protected' && one.target === target))
      continue;
    obstacles.push({ code: 'protected', target, reason: 'it is protected' });
  }
  // Something must stay: what is pinned, or else one unit.
  if (obstacles.length === 0 && closure.units <= Math.max(1, closure.pinned.size)) {
    const reason = 'all of it can only be removed together';
    obstacles.push({ code: 'single-unit', target: found.start.name, reason });
  }
  return obstacles;
}

/**
 * Finds what can be removed from a model: the groups of channels, neurons and heads that hang together, with what each
 * unit costs. Groups that cannot be pruned are listed as well, with what is in the way. The model is not changed. Cost
 * is about linear in nodes times channels; no weight is loaded.
 *
 * @throws {LitheError} OPTIONS_INVALID when `protect` names what is not there; MODEL_INVALID, LIMIT_EXCEEDED when shapes
 *   cannot be inferred at all
 * @see Fang, Ma, Song, Mi and Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023
 * @example
 * ```ts
 * import { pruningGroups } from '@lithe/pruning';
 * import { cnn } from '@lithe/training';
 *
 * const groups = await pruningGroups(await cnn());
 * groups.map(({ name }) => name); // => ['conv1', 'conv2', 'linear1', 'classifier']
 * groups.map(({ units }) => units); // => [32, 64, 128, 10]
 * groups.map(({ prunable }) => prunable); // => [true, true, true, false]
 * ```
 */
export async function pruningGroups(
  model: Model,
  options: GroupOptions = {},
): Promise<readonly PruningGroup[]> {
  const copy = model.clone();
  unshareVectors(copy);
  return await groupsOf(await AxisModel.of(copy, options), options);
}

/** {@link pruningGroups} of a model that was looked at already. */
export async function groupsOf(
  axes: AxisModel,
  options: GroupOptions = {},
): Promise<readonly PruningGroup[]> {
  const protect = new Set(options.protect);
  checkProtected('pruningGroups', axes.graph, options.protect);
  const first = findClosures(axes, 0);
  const hasChoice = first.some(({ closure }) => closure.hasChoice);
  const others = hasChoice ? [1, 2].map((preference) => findClosures(axes, preference)) : [];
  const isClear = (found: Found): boolean => obstaclesOf(found, protect).length === 0;
  const tools = { protect, cost: new CutCost(axes, options.dims ?? {}), names: new Set<string>() };
  const { attention = 'heads' } = options;
  const chosen: Found[] = [];
  for (const one of first) {
    const ways: (readonly Found[])[] = [[one]];
    if (one.closure.hasChoice) {
      for (const list of others) ways.push(list.filter((other) => overlaps(one.closure, other.closure)));
    }
    const clear = ways.map((way) => way.filter(isClear)).filter((way) => way.length > 0);
    const best = attention === 'both' ? clear.flat() : bestWay(axes, clear, attention);
    for (const found of best === undefined || best.length === 0 ? [one] : best) {
      if (!chosen.some((other) => sameCut(other.closure, found.closure))) chosen.push(found);
    }
  }
  const groups: PruningGroup[] = [];
  for (const found of chosen) groups.push(await confirmed(axes, found, groupOf(axes, found, tools)));
  if (attention !== 'both') return groups;
  return groups.map((group, index) => ({
    ...group,
    alternatives: groups.flatMap((other, at) =>
      at !== index && overlaps((chosen[index] as Found).closure, (chosen[at] as Found).closure)
        ? [other.name]
        : [],
    ),
  }));
}

/** Tries a cut out where sizes are computed while the model runs: they may follow it, or not. */
async function confirmed(axes: AxisModel, { closure }: Found, group: PruningGroup): Promise<PruningGroup> {
  const computed = [...closure.nodes].find((node) => axes.flow(node).flow.isComputed === true);
  const unit = Array.from({ length: group.units }, (_, index) => index).find(
    (index) => !group.pinned.has(index),
  );
  if (computed === undefined || !group.prunable || unit === undefined) return group;
  try {
    await removeAll(axes.model.clone(), [{ group, units: [unit] }], axes);
    return group;
  } catch (error) {
    if (!isLitheError(error, 'MODEL_INVALID')) throw error;
    const reason = `${computed.op}: its sizes are computed in a way that does not follow a cut; simplify the model first`;
    const obstacle = { code: 'operator', target: computed.name, reason } as const;
    return { ...group, prunable: false, obstacles: [obstacle] };
  }
}

/** The way to cut by default: attention by heads or by their width, as asked for; anything else by what is finest. */
function bestWay(
  axes: AxisModel,
  ways: readonly (readonly Found[])[],
  attention: 'heads' | 'width',
): readonly Found[] | undefined {
  const wanted = attention === 'heads' ? 'head' : 'head-width';
  const asked = ways.find((way) =>
    way.some(({ closure, preference }) => kindOf(axes, closure, preference) === wanted),
  );
  if (asked !== undefined) return asked;
  const least = (way: readonly Found[]): number => Math.min(...way.map(({ closure }) => closure.units));
  return ways.reduce<readonly Found[] | undefined>(
    (best, way) => (best === undefined || least(way) > least(best) ? way : best),
    undefined,
  );
}

/** Whether two cuts share indices of a weight. */
function overlaps(left: Closure, right: Closure): boolean {
  for (const [slot, { start, units }] of left.slots) {
    const other = right.slots.get(slot);
    if (other === undefined || constantOf(slot.value) === undefined) continue;
    if (units.some((unit, place) => unit >= 0 && unitAt(other, start + place) >= 0)) return true;
  }
  return false;
}

function sameCut(left: Closure, right: Closure): boolean {
  if (left.units !== right.units || left.slots.size !== right.slots.size) return false;
  for (const [slot, { start, units }] of left.slots) {
    const other = right.slots.get(slot);
    if (other?.start !== start || other.units.length !== units.length) return false;
    if (units.some((unit, place) => unit !== other.units[place])) return false;
  }
  return true;
}

function groupOf(
  axes: AxisModel,
  found: Found,
  tools: { readonly protect: ReadonlySet<string>; readonly cost: CutCost; readonly names: Set<string> },
): PruningGroup {
  const { closure, start } = found;
  const obstacles = obstaclesOf(found, tools.protect);
  const base = start.name === '' ? found.slot.value.name : start.name;
  let name = base;
  for (let number = 2; tools.names.has(name); number++) name = `${base}#${number}`;
  tools.names.add(name);
  const weights = weightsOf(axes, closure);
  const layers = new Set(
    weights.filter((one) => one.role === 'weight' && one.direction === 'out').map((one) => one.node),
  );
  const group: PruningGroup = {
    name,
    kind: kindOf(axes, closure, found.preference),
    units: closure.units,
    axes: [...closure.slots].map(([slot, span]) => axisOf(slot, span, {})),
    weights,
    layers: [...layers],
    prunable: obstacles.length === 0,
    obstacles,
    pinned: closure.pinned,
    inexact: closure.inexact,
    unitCost: { parameters: 0, bytes: 0, macs: 0 },
    alternatives: [],
  };
  const removable = Array.from({ length: group.units }, (_, unit) => unit).find(
    (unit) => !group.pinned.has(unit),
  );
  if (!group.prunable || removable === undefined) return group;
  const after = shapesWithout(closure.slots, removable);
  return { ...group, unitCost: tools.cost.saved(after) };
}
