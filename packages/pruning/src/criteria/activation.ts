import type { Node, Value } from '@lithe/core';
import type { GroupWeight, PruningGroup } from '../structured/pruning-group.ts';
import type { Criterion, CriterionContext } from './criterion.ts';
import { type GroupScoreOptions, isQuantized, valuesOf } from './magnitude.ts';
import { averageOutputs, type ProbeGraph, probeGraph } from './probe.ts';
import { normalizeScores, reduceScores } from './reduce.ts';
import { gatherByUnit, sumByUnit } from './weight-elements.ts';

/** Options of criteria that look at activations. */
export interface ActivationOptions extends Omit<GroupScoreOptions, 'bias'> {
  /** At most this many samples; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
}

/** Where the units of a group are read: the data that a weight multiplies. */
interface Reader {
  readonly key: string;
  readonly weight: GroupWeight | undefined;
  readonly value: string;
  readonly axis: number;
  readonly units: Int32Array;
}

/** The activations that the weights of a group read; where nothing reads them, what the group ends with. */
function readersOf(group: PruningGroup, nodes: ReadonlyMap<string, Node>, place: number): readonly Reader[] {
  const readers: Reader[] = [];
  const activations = group.axes.filter(
    (axis) => !group.weights.some((weight) => weight.value === axis.value),
  );
  const at = (value: Value | null | undefined): (typeof activations)[number] | undefined =>
    activations.find((axis) => axis.value === value?.name);
  for (const weight of group.weights) {
    if (weight.role !== 'weight' || weight.direction !== 'in') continue;
    const node = nodes.get(weight.node);
    const data = node?.inputs.map(at).find((axis) => axis !== undefined);
    if (data === undefined) continue;
    const { value, axis, units } = data;
    readers.push({ key: `${place}:${readers.length}`, weight, value, axis, units });
  }
  const last = activations.at(-1);
  if (readers.length === 0 && last !== undefined)
    readers.push({
      key: `${place}:0`,
      weight: undefined,
      value: last.value,
      axis: last.axis,
      units: last.units,
    });
  return readers;
}

type Statistic = (probe: ProbeGraph, value: Value, axis: number) => Value;

/** Averages a statistic of each activation over the data, and hands the numbers of each reader on. */
async function observeReaders(
  groups: readonly PruningGroup[],
  context: CriterionContext,
  rules: ActivationOptions & { readonly name: string; readonly statistic: Statistic },
): Promise<readonly (readonly (Reader & { readonly numbers: Float64Array })[])[]> {
  const model = context.model.clone();
  const nodes = new Map([...model.graph.nodes()].map((node) => [node.name, node]));
  const readers = groups.map((group, place) => readersOf(group, nodes, place));
  const { probe, outputs } = probeGraph(model);
  const shared = new Map<string, string>();
  for (const reader of readers.flat()) {
    const place = `${reader.value}:${reader.axis}`;
    if (shared.has(place)) continue;
    shared.set(place, reader.key);
    probe.give(reader.key, rules.statistic(probe, probe.value(reader.value), reader.axis));
  }
  const { samples = 256, batchSize } = rules;
  const means =
    outputs.size === 0
      ? new Map<string, Float64Array>()
      : await averageOutputs(model, outputs, context, { task: rules.name, samples, batchSize });
  return readers.map((list) =>
    list.map((reader) => ({
      ...reader,
      numbers: means.get(shared.get(`${reader.value}:${reader.axis}`) ?? '') as Float64Array,
    })),
  );
}

function activationCriterion(name: string, options: ActivationOptions, statistic: Statistic): Criterion {
  return {
    name,
    needs: ['data', 'backend'],
    score: async (groups, context) => {
      const observed = await observeReaders(groups, context, { ...options, name, statistic });
      return observed.map((readers, place) => {
        const { units } = groups[place] as PruningGroup;
        const parts = readers.map((reader) => gatherByUnit(reader.numbers, reader.units, units));
        const reduced = reduceScores(parts, options.reduction ?? 'mean');
        return reduced === undefined ? undefined : normalizeScores(reduced, options.normalizer ?? 'mean');
      });
    },
  };
}

/** The mean of |x| over the activations of a unit, where the weights behind it read them. Needs no labels. */
export function activationMean(options: ActivationOptions = {}): Criterion {
  return activationCriterion('activation-mean', options, (probe, value, axis) =>
    probe.overOthers(probe.each('Abs', [value]), axis, 'mean'),
  );
}

/**
 * The share of activations of a unit that are not zero: one minus the average percentage of zeros.
 *
 * @see Hu, Peng, Tai and Tang, "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
 *   Architectures", 2016, equation 1
 */
export function nonZeroActivations(options: ActivationOptions = {}): Criterion {
  return activationCriterion('non-zero-activations', options, (probe, value, axis) =>
    probe.overOthers(probe.each('Abs', [probe.each('Sign', [value])]), axis, 'mean'),
  );
}

/**
 * The weights that read a unit times what they read: |W| by the norm of the activations, summed over the unit.
 *
 * @see Sun, Liu, Bair and Kolter, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), ICLR
 *   2024, equation 1, summed over the column that goes
 */
export function wandaScore(options: ActivationOptions = {}): Criterion {
  const name = 'wanda';
  return {
    name,
    needs: ['data', 'backend'],
    score: async (groups, context) => {
      const observed = await observeReaders(groups, context, {
        ...options,
        name,
        statistic: (probe, value, axis) => probe.overOthers(probe.each('Mul', [value, value]), axis, 'mean'),
      });
      const scores: (Float64Array | undefined)[] = [];
      for (const [place, readers] of observed.entries()) {
        const { units } = groups[place] as PruningGroup;
        const parts: Float64Array[] = [];
        const isBlind = readers.some(({ weight }) => weight !== undefined && isQuantized(weight));
        for (const { weight, numbers, units: unitOf } of isBlind ? [] : readers) {
          const roots = numbers.map(Math.sqrt);
          if (weight === undefined) {
            parts.push(gatherByUnit(roots, unitOf, units));
            continue;
          }
          parts.push(await weighed(weight, { roots, unitOf, units }, context.signal));
        }
        const reduced = reduceScores(parts, options.reduction ?? 'mean');
        scores.push(
          reduced === undefined ? undefined : normalizeScores(reduced, options.normalizer ?? 'mean'),
        );
      }
      return scores;
    },
  };
}

/** |W| of each column times the norm of what it reads, by unit. */
async function weighed(
  weight: GroupWeight,
  read: { readonly roots: Float64Array; readonly unitOf: Int32Array; readonly units: number },
  signal: AbortSignal,
): Promise<Float64Array> {
  const { roots, unitOf, units } = read;
  const values = await valuesOf(weight.tensor, signal);
  const length = weight.tensor.shape[weight.axis] as number;
  // Groups of a convolution each read channels of their own by the same columns.
  const rows = weight.tensor.shape[0] as number;
  const groups = weight.op === 'Conv' && weight.axis === 1 ? roots.length / length : 1;
  if (groups * length === roots.length && Number.isInteger(rows / groups)) {
    const every = Int32Array.from({ length }, (_, index) => index);
    const part = values.length / groups;
    const shape = weight.tensor.shape.map((size, axis) => (axis === 0 ? size / groups : size));
    const products = new Float64Array(roots.length);
    for (let group = 0; group < groups; group++) {
      const own = values.subarray(group * part, (group + 1) * part);
      const columns = sumByUnit(
        { axis: weight.axis, span: { start: 0, units: every }, tensor: { shape } },
        own,
        {
          units: length,
          power: 1,
        },
      );
      for (let index = 0; index < length; index++)
        products[group * length + index] = columns[index]! * roots[group * length + index]!;
    }
    return gatherByUnit(products, unitOf, units);
  }
  const columns = sumByUnit(weight, values, { units, power: 1 });
  const norms = gatherByUnit(roots, unitOf, units);
  return columns.map((column, unit) => column * norms[unit]!);
}
