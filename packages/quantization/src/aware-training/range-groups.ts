import { constantOf, type Graph, type Node, type PassContext, type Value } from '@lithe/core';
import { calibratedRange } from '../calibration/calibrator.ts';
import { type CalibratorChoice, calibratorOf } from '../calibration/choice.ts';
import { type CalibrationStats, statisticsOf } from '../calibration/statistics.ts';
import type { AffineParameters } from '../parameters/affine.ts';
import { type IntegerRange, integerRange } from '../parameters/integer-range.ts';
import { activationRanges, scaleRoot } from '../passes/static/activation-ranges.ts';
import { fewBits, levelsInBytes } from './few-bit-memory.ts';
import { type AwarePlan, activationRange, eightBitLayers } from './plan-aware.ts';
import type { AwareQuantizationSettings } from './settings.ts';

/** Activations that share scale and zero point. */
export interface RangeGroup {
  /** Name of the value that the range is called after. */
  readonly name: string;
  /** Values whose extremes the range follows: where they are computed. */
  readonly roots: readonly Value[];
  /** What the group is known by in the plan. */
  readonly key: AffineParameters;
  /** Where the lower end of the range starts: 0 or below. */
  readonly minimum: number;
  /** Where the upper end starts: 0 or above. */
  readonly maximum: number;
  /** Integers that stand for the values. */
  readonly integers: IntegerRange;
  /** What the integers must not exceed, so that the runtime can leave a `Clip` out. */
  readonly bound: number | undefined;
  /** Elements of one sample, all roots together; 1 where that is not known. */
  readonly elements: number;
}

/** Ranges of the values that get pairs. */
export interface AwareRanges {
  /** By value, as the pairs are put in. */
  readonly byValue: ReadonlyMap<Value, AffineParameters>;
  /** The groups. */
  readonly groups: readonly RangeGroup[];
  /** Integers where no layer asks for others. */
  readonly integers: IntegerRange;
  /** Layers that keep 8 bits. */
  readonly wide: ReadonlySet<Node>;
}

const nothing = { minimum: 0, maximum: 0 };

/** First ranges of activations, and which of them share one. */
export async function rangeGroups(
  { pairs, layers }: AwarePlan,
  stats: CalibrationStats | undefined,
  {
    graph,
    settings,
    context,
  }: {
    readonly graph: Graph;
    readonly settings: AwareQuantizationSettings;
    readonly context: PassContext;
  },
): Promise<AwareRanges> {
  const integers = activationRange(settings, context);
  const wide = eightBitLayers(layers, settings);
  if (stats === undefined) return { byValue: new Map(), groups: [], integers, wide };
  const few = settings.activationBits === 4;
  const choice: CalibratorChoice = settings.calibrator ?? (few ? 'mse' : 'min-max');
  const calibrator = calibratorOf(choice);
  const byValue = await activationRanges(pairs, stats, { integers, calibrator, symmetric: false });
  const members = new Map<AffineParameters, Value[]>();
  for (const [value, key] of byValue) members.set(key, [...(members.get(key) ?? []), value]);
  const eight = integerRange(integers.low < 0 ? 'int8' : 'uint8');
  const groups: RangeGroup[] = [];
  for (const [key, values] of members) {
    const roots = [...new Set(values.map((value) => scaleRoot(value, pairs)))];
    const own =
      few && values.some((value) => value.uses.some(({ node, index }) => index === 0 && wide.has(node)));
    const range = own ? eight : integers;
    const seen = roots.map((root) => {
      const found = statisticsOf(stats, root.name);
      return found === undefined ? nothing : calibratedRange(found, calibrator, range);
    });
    const bounds = await Promise.all(roots.map((root) => upperBound(root, { pairs })));
    const known = bounds.filter((bound) => bound !== undefined);
    groups.push({
      name: roots[0]?.name ?? '',
      roots,
      key,
      minimum: Math.min(...seen.map((one) => one.minimum)),
      maximum: Math.max(...seen.map((one) => one.maximum)),
      integers: range,
      bound: known.length === 0 ? undefined : Math.min(...known),
      elements: roots.reduce((sum, root) => sum + elementsOf(root, stats), 0) || 1,
    });
  }
  return { byValue, groups: levelsInBytes(graph, groups, byValue), integers, wide };
}

/** Upper bound of the `Clip` that a value comes out of, where the layer before takes that in. */
async function upperBound(value: Value, { pairs }: Pick<AwarePlan, 'pairs'>): Promise<number | undefined> {
  const clip = value.producer;
  if (clip === null || !clip.is('Clip') || !pairs.absorbed.has(clip)) return undefined;
  return (await constantOf(clip.input(2))?.load())?.toFloat64Array()[0];
}

function elementsOf(value: Value, stats: CalibrationStats): number {
  const elements = statisticsOf(stats, value.name)?.elements;
  return elements === undefined || stats.samples === 0 ? 0 : elements / stats.samples;
}

/** Channels of activations. */
export interface Channels {
  /** Axis that counts them. */
  readonly axis: number;
  /** How many there are. */
  readonly count: number;
}

/**
 * Channels of activations that take 4 bits; `undefined` for others, and where they are not known. Their scale is written
 * once for each, all equal: onnxruntime 1.30 fuses operators with quantizers of one scale, and then has no kernel for 4
 * bits, or stops loading.
 */
export function fewBitChannels({ roots: values, integers }: RangeGroup): Channels | undefined {
  if (!fewBits(integers)) return undefined;
  const shape = values[0]?.shape;
  const rank = shape?.length ?? 0;
  for (const axis of [1, rank - 1]) {
    const count = shape?.[axis];
    if (typeof count === 'number' && values.every((value) => value.shape?.[axis] === count))
      return { axis, count };
  }
  return undefined;
}
