import { attribute, constantOf, Tensor } from '@lithe/core';
import { oldCeiling } from '../upgrade/other.ts';
import { renamedModes } from '../upgrade/resize.ts';
import { equalSplit } from '../upgrade/shapes.ts';
import {
  type Crossing,
  constantFloats,
  constantInts,
  inputOf,
  intOf,
  type WrittenForm,
  withAttributes,
  withInputs,
} from './form.ts';

/** The crossings of an operator by the opset below which they lead. */
export type Crossings = Readonly<Record<number, Crossing>>;

/** Turns a constant input back into a list attribute. */
function inputToList(name: string, index: number): Crossing {
  return (form) => {
    const input = inputOf(form, index);
    if (input === null) return form;
    const values = constantInts(input);
    if (values === undefined) return `its "${name}" is not constant`;
    const inputs = form.inputs.map((value, position) => (position === index ? null : value));
    const kept = withInputs(form, inputs);
    // For reductions an empty list has always meant none given; no other list may be empty.
    return values.length === 0 ? kept : withAttributes(kept, { [name]: attribute.ints(values) });
  };
}

const refuse =
  (reason: string): Crossing =>
  () =>
    reason;

const clip: Crossing = (form) => {
  const low = inputOf(form, 1);
  const high = inputOf(form, 2);
  const minimum = low === null ? [] : constantFloats(low);
  const maximum = high === null ? [] : constantFloats(high);
  if (minimum === undefined || maximum === undefined) return 'its limits are not constant';
  return withAttributes(withInputs(form, [inputOf(form, 0)]), {
    min: minimum[0] === undefined ? undefined : attribute.float(minimum[0]),
    max: maximum[0] === undefined ? undefined : attribute.float(maximum[0]),
  });
};

const dropout: Crossing = (form, { node }) => {
  const mask = node.outputs[1];
  if (mask !== undefined && mask.name !== '' && !mask.isUnused) return 'its mask is used';
  const ratio = inputOf(form, 1) === null ? [0.5] : constantFloats(inputOf(form, 1));
  const training = inputOf(form, 2) === null ? [0] : constantFloats(inputOf(form, 2));
  if (ratio === undefined || training?.[0] !== 0) return 'it drops elements';
  return withAttributes(withInputs(form, [inputOf(form, 0)]), {
    ratio: attribute.float(ratio[0] ?? 0.5),
    seed: undefined,
  });
};

const batchNormalization: Crossing = (form, { node }) => {
  if (intOf(form, 'training_mode', 0n) !== 0n) return 'it is in training mode';
  if (node.outputs.slice(1).some((value) => value.name !== '')) return 'it hands out statistics';
  return form;
};

const reduceAxes: Crossing = (form, context) => {
  const axes = inputOf(form, 1);
  const keeps = intOf(form, 'noop_with_empty_axes', 0n) !== 0n;
  const lowered = inputToList('axes', 1)(form, context);
  if (typeof lowered === 'string') return lowered;
  if (keeps && (axes === null || !lowered.attributes.has('axes'))) return 'it reduces nothing without axes';
  return withAttributes(lowered, { noop_with_empty_axes: undefined });
};

/** Before opset 18, a split without sizes was into equal parts. */
const splitCount: Crossing = (form, { node }) => {
  if (!form.attributes.has('num_outputs')) return form;
  const input = inputOf(form, 0);
  const axis = Number(intOf(form, 'axis', 0n));
  const shape = input?.shape;
  const size = shape?.[axis < 0 ? axis + shape.length : axis];
  const equal = typeof size === 'number' && size % node.outputs.length === 0;
  if (!equal && node.meta.get(equalSplit) !== true) return 'its parts may differ';
  return withAttributes(form, { num_outputs: undefined });
};

const slice: Crossing = (form) => {
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((index) => {
    const input = inputOf(form, index);
    return input === null ? [] : constantInts(input);
  });
  if (starts === undefined || ends === undefined || axes === undefined) return 'its range is not constant';
  if (steps === undefined || steps.some((step) => step !== 1n)) return 'it takes steps';
  return withAttributes(withInputs(form, [inputOf(form, 0)]), {
    starts: attribute.ints(starts),
    ends: attribute.ints(ends),
    axes: axes.length === 0 ? undefined : attribute.ints(axes),
  });
};

/** Opset 10 knew neither negative steps nor negative axes. */
const sliceBack: Crossing = (form) => {
  for (const index of [3, 4]) {
    const input = inputOf(form, index);
    if (input === null) continue;
    const values = constantInts(input);
    if (values === undefined || values.some((value) => value < 0n))
      return 'its axes or steps may be negative';
  }
  return form;
};

/** Before opset 18, pads were given for every axis. */
const padAxes: Crossing = (form) => (inputOf(form, 3) === null ? form : 'it pads chosen axes');

const pad: Crossing = (form) => {
  const pads = constantInts(inputOf(form, 1));
  const value = inputOf(form, 2) === null ? [0] : constantFloats(inputOf(form, 2));
  if (pads === undefined || value === undefined) return 'its pads are not constant';
  return withAttributes(withInputs(form, [inputOf(form, 0)]), {
    pads: attribute.ints(pads),
    value: value[0] === undefined || value[0] === 0 ? undefined : attribute.float(value[0]),
  });
};

const topK: Crossing = (form) => {
  const count = constantInts(inputOf(form, 1));
  if (count?.length !== 1) return 'its "k" is not constant';
  return withAttributes(withInputs(form, [inputOf(form, 0)]), { k: attribute.int(count[0] as bigint) });
};

/** Before opset 13, softmax worked on everything from its axis on; the two agree at the last axis. */
const softmax: Crossing = (form, { types }) => {
  const axis = Number(intOf(form, 'axis', -1n));
  const input = inputOf(form, 0);
  const rank = input === null ? undefined : types.rankOf(input);
  if (axis !== -1 && (rank === undefined || axis !== rank - 1)) return 'its axis is not the last';
  // A positive axis is what opset 10 and before understand.
  return withAttributes(form, { axis: attribute.int(rank === undefined ? -1 : rank - 1) });
};

/** Before opset 13, region and scales could not be left out; empty tensors stood for them. */
const resizeEmpty: Crossing = (form) => {
  const missing = [1, 2].filter((index) => inputOf(form, index) === null);
  return {
    ...form,
    inputs: [...form.inputs, null, null, null].slice(0, Math.max(3, form.inputs.length)),
    emptyInputs: missing,
  };
};

/** `Resize` of opset 10 scaled coordinates only, and rounded down where it enlarged. */
const resize: Crossing = (form) => {
  const text = (name: string, otherwise: string): string => {
    const found = form.attributes.get(name);
    return found?.kind === 'string' ? found.value : otherwise;
  };
  const mode = text('mode', 'nearest');
  const scales = constantFloats(inputOf(form, 2));
  if (text('coordinate_transformation_mode', 'half_pixel') !== 'asymmetric')
    return 'its coordinates are not asymmetric';
  if (inputOf(form, 3) !== null || mode === 'cubic') return 'opset 10 has no sizes and no cubic mode';
  if (mode === 'nearest') {
    if (text('nearest_mode', 'round_prefer_floor') !== 'floor') return 'it does not round down';
    if (scales === undefined || scales.some((scale) => scale < 1)) return 'it may shrink';
  }
  return {
    inputs: [inputOf(form, 0), inputOf(form, 2)],
    attributes: new Map([['mode', attribute.string(mode)]]),
  };
};

/** Scale and zero point per axis came with opset 13. */
const perTensor: Crossing = (form, { types }) => {
  const scale = inputOf(form, 1);
  const rank = scale === null ? undefined : types.rankOf(scale);
  return rank === 0 ? withAttributes(form, { axis: undefined }) : 'its scale is not known to be one number';
};

const constant: Crossing = (form, { node }) => {
  if (form.attributes.has('value')) return form;
  const source = node.constantSource();
  if (source === undefined) return 'its value has a form that came later';
  return { ...form, attributes: new Map([['value', attribute.tensor(source)]]) };
};

const gridSample: Crossing = (form) => {
  const found = form.attributes.get('mode');
  const mode = found?.kind === 'string' ? found.value : 'linear';
  const old = [...renamedModes].find(([, later]) => later === mode)?.[0];
  return old === undefined ? `its mode is "${mode}"` : withAttributes(form, { mode: attribute.string(old) });
};

const roiAlign: Crossing = (form) => {
  const found = form.attributes.get('coordinate_transformation_mode');
  if (found?.kind !== 'string' || found.value !== 'output_half_pixel')
    return 'it takes half a pixel off its coordinates';
  return withAttributes(form, { coordinate_transformation_mode: undefined });
};

const dft: Crossing = (form) => {
  const axis = constantInts(inputOf(form, 2));
  if (axis?.length !== 1) return 'its axis is not constant';
  const kept = withInputs(form, [inputOf(form, 0), inputOf(form, 1)]);
  return withAttributes(kept, { axis: attribute.int(axis[0] as bigint) });
};

const averagePool: Crossing = (form, { node }) => {
  const open = intOf(form, 'ceil_mode', 0n) !== 0n && intOf(form, 'count_include_pad', 0n) !== 0n;
  return open && node.meta.get(oldCeiling) !== true
    ? 'it rounds up and counts padding, which was not defined'
    : form;
};

/** Refuses a text that an attribute could not have. */
function withoutText(name: string, texts: readonly string[]): Crossing {
  return (form) => {
    const found = form.attributes.get(name);
    const later = found?.kind === 'string' && texts.includes(found.value);
    return later ? `its "${name}" is "${found.value}"` : form;
  };
}

/** Before opset 11, axes counted from the front only. */
const positiveAxes: Crossing = (form, { node, types }) => {
  const axis = form.attributes.get('axis');
  const axes = form.attributes.get('axes');
  const input = node.input(0);
  let rank = input === null ? undefined : types.rankOf(input);
  if (rank !== undefined && node.opType === 'Unsqueeze' && axes?.kind === 'ints') rank += axes.value.length;
  const negative = (value: bigint): boolean => value < 0n;
  const one = axis?.kind === 'int' && negative(axis.value);
  const many = axes?.kind === 'ints' && axes.value.some(negative);
  if (!one && !many) return form;
  if (rank === undefined) return 'its axis counts from the back of an unknown rank';
  const front = (value: bigint): bigint => (value < 0n ? value + BigInt(rank) : value);
  return withAttributes(form, {
    axis: axis?.kind === 'int' ? attribute.int(front(axis.value)) : axis,
    axes: axes?.kind === 'ints' ? attribute.ints(axes.value.map(front)) : axes,
  });
};

/** Before opset 11, indices counted from the front only. */
const gather: Crossing = (form, context) => {
  const known = constantOf(inputOf(form, 1));
  const indices = known instanceof Tensor ? constantInts(inputOf(form, 1)) : undefined;
  if (indices === undefined || indices.some((index) => index < 0n)) return 'its indices may be negative';
  return positiveAxes(form, context);
};

const axisOnly = { 11: positiveAxes } as const;
const reduce = { 18: reduceAxes, 11: positiveAxes } as const;
const sameShape = { 8: refuse('it broadcasts') } as const;
const softmaxes = { 13: softmax, 11: positiveAxes } as const;

/**
 * What changed in operators since opset 7, from the later form to the earlier. A change of inputs, attributes or types
 * that is not listed is found by comparing with the operator's definition.
 */
export const crossings: Readonly<Record<string, Crossings>> = {
  ArgMax: axisOnly,
  ArgMin: axisOnly,
  AveragePool: { 19: averagePool },
  BatchNormalization: { 14: batchNormalization },
  Clip: { 11: clip },
  Compress: axisOnly,
  Concat: axisOnly,
  Constant: { 12: constant },
  DFT: { 20: dft },
  DequantizeLinear: { 13: perTensor },
  Dropout: { 12: dropout },
  Flatten: axisOnly,
  Gather: { 11: gather },
  GridSample: { 20: gridSample },
  GroupNormalization: { 21: refuse('its scale and bias are per channel') },
  Hardmax: softmaxes,
  LogSoftmax: softmaxes,
  Max: sameShape,
  Mean: sameShape,
  Min: sameShape,
  OneHot: axisOnly,
  Pad: { 19: withoutText('mode', ['wrap']), 18: padAxes, 11: pad },
  QuantizeLinear: { 13: perTensor },
  ReduceL1: reduce,
  ReduceL2: reduce,
  ReduceLogSum: reduce,
  ReduceLogSumExp: reduce,
  ReduceMax: reduce,
  ReduceMean: reduce,
  ReduceMin: reduce,
  ReduceProd: reduce,
  ReduceSum: { 13: reduceAxes, 11: positiveAxes },
  ReduceSumSquare: reduce,
  Resize: {
    19: withoutText('coordinate_transformation_mode', ['half_pixel_symmetric']),
    13: resizeEmpty,
    11: resize,
  },
  RoiAlign: { 16: roiAlign },
  Scan: { 9: refuse('it had another form') },
  ScatterElements: { 18: withoutText('reduction', ['max', 'min']) },
  ScatterND: { 18: withoutText('reduction', ['max', 'min']) },
  Slice: { 11: sliceBack, 10: slice },
  Softmax: softmaxes,
  Split: { 18: splitCount, 13: inputToList('split', 1), 11: positiveAxes },
  Squeeze: { 13: inputToList('axes', 1), 11: positiveAxes },
  Sum: sameShape,
  TopK: { 11: positiveAxes, 10: topK },
  Unsqueeze: { 13: inputToList('axes', 1), 11: positiveAxes },
};

/** Values of attributes that say what held before the attribute came; such an attribute is left out. */
export const neutralValues: Readonly<Record<string, Readonly<Record<string, bigint | string | 'ones'>>>> = {
  ArgMax: { select_last_index: 0n },
  ArgMin: { select_last_index: 0n },
  AveragePool: { ceil_mode: 0n, count_include_pad: 0n, dilations: 'ones' },
  BatchNormalization: { training_mode: 0n },
  Cast: { saturate: 1n },
  CastLike: { saturate: 1n },
  DepthToSpace: { mode: 'DCR' },
  DequantizeLinear: { block_size: 0n, output_dtype: 0n },
  GRU: { layout: 0n },
  GatherND: { batch_dims: 0n },
  LSTM: { layout: 0n },
  LpPool: { ceil_mode: 0n, dilations: 'ones' },
  MaxPool: { ceil_mode: 0n, dilations: 'ones', storage_order: 0n },
  QuantizeLinear: { block_size: 0n, output_dtype: 0n, saturate: 1n, precision: 0n },
  RNN: { layout: 0n },
  Reshape: { allowzero: 0n },
  Resize: { antialias: 0n, keep_aspect_ratio_policy: 'stretch' },
  ScatterElements: { reduction: 'none' },
  ScatterND: { reduction: 'none' },
  Shape: { start: 0n },
  TopK: { largest: 1n, sorted: 1n },
};

/** Leaves out attributes that the definition does not know and that say what it means anyway. */
export function withoutNeutral(
  opType: string,
  form: WrittenForm,
  known: ReadonlyMap<string, string>,
): WrittenForm {
  const neutral = Object.hasOwn(neutralValues, opType) ? (neutralValues[opType] ?? {}) : {};
  let current = form;
  for (const [name, value] of form.attributes) {
    if (known.has(name) || !Object.hasOwn(neutral, name)) continue;
    const expected = neutral[name];
    const matches =
      expected === 'ones'
        ? value.kind === 'ints' && value.value.every((item) => item === 1n)
        : (value.kind === 'int' || value.kind === 'string') && value.value === expected;
    if (matches) current = withAttributes(current, { [name]: undefined });
  }
  return current;
}
