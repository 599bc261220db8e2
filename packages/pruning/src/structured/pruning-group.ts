import { constantOf, type Dim, type Model, type TensorSource, type Value } from '@lithe/core';
import type { WeightRole } from './axis-rule.ts';
import type { Obstacle } from './closure.ts';
import type { Cost, ShapesAfter } from './cut-cost.ts';
import type { UnitSpan } from './unit-span.ts';

/** An axis that shrinks when units of a group are removed. */
export interface GroupAxis {
  /**
   * Name of the value, in the main graph. A vector that several nodes share is given to each its own when units are
   * removed: its copies have names that the model does not have yet.
   */
  readonly value: string;
  /** The axis, counted from the front. */
  readonly axis: number;
  /** Length of the axis. */
  readonly length: number;
  /** The stretch of the axis that units of the group lie in: often far shorter than an axis that many layers join on. */
  readonly span: UnitSpan;
  /**
   * The unit of each index; -1 where an index belongs to no unit of the group. Written out from {@link span} when it is
   * first read.
   */
  readonly units: Int32Array;
}

/** A constant that shrinks when units of a group are removed. */
export interface GroupWeight extends GroupAxis {
  /** What it is for; `other` where that is not known. */
  readonly role: WeightRole | 'other';
  /** Whether the units are what it makes (`out`: filters, neurons) or what it reads (`in`). */
  readonly direction: 'out' | 'in';
  /** The node that reads it. */
  readonly node: string;
  /** Operator of that node. */
  readonly op: string;
  /** The constant as it is. */
  readonly tensor: TensorSource;
}

/**
 * Channels, neurons or heads that can only be removed together with one another, wherever in the model they show up: a
 * group. A unit is the smallest part of it that can go.
 */
export interface PruningGroup {
  /** Name: that of the first node that makes its channels. Unique among the groups of a model. */
  readonly name: string;
  /** What a unit is: an attention head, one place in every head, or one channel (filter, neuron) with all that hangs on it. */
  readonly kind: 'channel' | 'head' | 'head-width';
  /** Number of units. */
  readonly units: number;
  /** Every axis that shrinks. */
  readonly axes: readonly GroupAxis[];
  /** Those of {@link axes} that are constants. */
  readonly weights: readonly GroupWeight[];
  /** Names of the nodes that make the channels. */
  readonly layers: readonly string[];
  /** Whether units can be removed. */
  readonly prunable: boolean;
  /** Why not; empty when it is prunable. */
  readonly obstacles: readonly Obstacle[];
  /** Units that must stay, with the reason. */
  readonly pinned: ReadonlyMap<number, string>;
  /**
   * Why results change when units that are zero are removed. Empty where no operator counts zeros; that says nothing of
   * units that are no longer zero where they are reduced: `Sigmoid`, `Exp` or `Cos` between the weights and a sum make
   * something else of zero.
   */
  readonly inexact: readonly string[];
  /** What removing one unit saves, the others staying. */
  readonly unitCost: Cost;
  /** Names of groups that cut the same weights another way: prune one or the other. */
  readonly alternatives: readonly string[];
}

/** Units of a group that are to be removed. */
export interface Removal {
  /** The group. */
  readonly group: PruningGroup;
  /** Numbers of the units, from 0. */
  readonly units: readonly number[];
}

/** Indices that are kept, by value and axis; an axis that is not listed is kept whole. */
export type KeptIndices = ReadonlyMap<Value, ReadonlyMap<number, readonly number[]>>;

/** What is kept of each axis when units are removed. */
export function keptIndices(model: Model, removals: readonly Removal[]): KeptIndices {
  const marks = new Map<Value, Map<number, Uint8Array>>();
  for (const { group, units } of removals) {
    const removed = new Uint8Array(group.units);
    for (const unit of units) removed[unit] = 1;
    for (const axis of group.axes) {
      const value = model.graph.value(axis.value);
      if (value === undefined) continue;
      const byAxis = marks.get(value) ?? new Map<number, Uint8Array>();
      marks.set(value, byAxis);
      const mark = byAxis.get(axis.axis) ?? new Uint8Array(axis.length);
      byAxis.set(axis.axis, mark);
      const { start, units: own } = axis.span;
      for (let place = 0; place < own.length; place++) {
        const unit = own[place] as number;
        if (unit >= 0 && removed[unit] === 1) mark[start + place] = 1;
      }
    }
  }
  const kept = new Map<Value, Map<number, readonly number[]>>();
  for (const [value, byAxis] of marks) {
    for (const [axis, mark] of byAxis) {
      if (!mark.includes(1)) continue;
      const left: number[] = [];
      for (let index = 0; index < mark.length; index++) if (mark[index] === 0) left.push(index);
      const own = kept.get(value) ?? new Map<number, readonly number[]>();
      kept.set(value, own.set(axis, left));
    }
  }
  return kept;
}

/** Shapes of the values that are cut, after the cut. */
export function shapesAfter(kept: KeptIndices): ShapesAfter {
  const after = new Map<Value, readonly Dim[]>();
  for (const [value, byAxis] of kept) {
    const shape: readonly Dim[] = constantOf(value)?.shape ?? value.shape ?? [];
    after.set(
      value,
      shape.map((dim, axis) => byAxis.get(axis)?.length ?? dim),
    );
  }
  return after;
}
