import { type Attribute, attribute, constantOf, Tensor, type Value } from '@lithe/core';
import { type Adapter, type AdapterTable, drop } from './adapter.ts';
import { Blocked, type Rewrite } from './rewrite.ts';

const upsampleScales = (rewrite: Rewrite): readonly number[] => {
  const height = rewrite.float('height_scale');
  const width = rewrite.float('width_scale');
  if (height === undefined || width === undefined) throw new Blocked('it has no scales');
  return [1, 1, height, width];
};

/** At opset 1 an `Upsample` named its two factors, and linear was called bilinear. */
const upsample7: Adapter = (rewrite) => {
  const scales = upsampleScales(rewrite);
  if (rewrite.string('mode') === 'bilinear') rewrite.set('mode', attribute.string('linear'));
  drop('height_scale', 'width_scale')(rewrite);
  rewrite.set('scales', attribute.floats(scales));
};

const upsample9: Adapter = (rewrite) => {
  const scales = rewrite.floats('scales');
  if (scales === undefined) throw new Blocked('it has no scales');
  const value = rewrite.constant('scales', Tensor.from('float32', [scales.length], new Float32Array(scales)));
  rewrite.set('scales', undefined);
  rewrite.addInput(value);
};

/** `Upsample` enlarges by factors: input coordinate = output coordinate / scale, rounded down for `nearest`. */
const upsample11: Adapter = (rewrite) => {
  const [input = null, scales = null] = rewrite.node.inputs;
  const mode = modeOf(rewrite);
  rewrite.become('Resize', [input, null, scales], resizeAttributes(mode, 'floor'));
};

/** Most scales that are looked at: one for each dim, and no tensor has more. */
const mostDims = 64;

/**
 * `Resize` of opset 10 did not say how it rounds. Runtimes round down where it enlarges and up where it shrinks, so
 * the rounding of opset 11 can be told only when the scales are known.
 */
const resize11: Adapter = (rewrite) => {
  const [input = null, scales = null] = rewrite.node.inputs;
  const mode = modeOf(rewrite);
  let rounding = 'floor';
  if (mode === 'nearest') {
    const known = constantOf(scales);
    if (!(known instanceof Tensor) || known.dtype !== 'float32' || known.size > mostDims)
      throw new Blocked('it rounds by scales that are not known');
    const values = [...(known.data as Float32Array)].filter((scale) => scale !== 1);
    const shrinking = values.filter((scale) => scale < 1).length;
    if (shrinking > 0 && shrinking < values.length)
      throw new Blocked('it enlarges some axes and shrinks others');
    if (shrinking > 0) rounding = 'ceil';
  }
  rewrite.become('Resize', [input, null, scales], resizeAttributes(mode, rounding));
};

function modeOf(rewrite: Rewrite): string {
  const mode = rewrite.string('mode') ?? 'nearest';
  if (mode !== 'nearest' && mode !== 'linear') throw new Blocked(`its mode is "${mode}"`);
  return mode;
}

function resizeAttributes(mode: string, rounding: string): ReadonlyMap<string, Attribute> {
  const attributes = new Map<string, Attribute>([
    ['mode', attribute.string(mode)],
    ['coordinate_transformation_mode', attribute.string('asymmetric')],
  ]);
  if (mode === 'nearest') attributes.set('nearest_mode', attribute.string(rounding));
  return attributes;
}

/** From opset 13 on, region, scales and sizes that are not used are left out; before they were empty tensors. */
const resize13: Adapter = (rewrite) => {
  const [input = null, region = null, scales = null, sizes = null] = rewrite.node.inputs;
  if (rewrite.string('coordinate_transformation_mode') === 'tf_half_pixel_for_nn') {
    throw new Blocked('its coordinates "tf_half_pixel_for_nn" were dropped');
  }
  const empty = (value: Value | null): boolean =>
    value === null || constantOf(value)?.shape.includes(0) === true;
  let kept = scales;
  if (sizes !== null && !empty(sizes)) {
    if (!empty(scales)) throw new Blocked('it has both scales and sizes');
    kept = null;
  } else if (empty(scales)) throw new Blocked('it has neither scales nor sizes');
  rewrite.setInputs([input, empty(region) ? null : region, kept, kept === null ? sizes : null]);
};

/** Modes of `GridSample` at opset 16 and their names from 20 on. */
export const renamedModes: ReadonlyMap<string, string> = new Map([
  ['bilinear', 'linear'],
  ['bicubic', 'cubic'],
  ['nearest', 'nearest'],
]);

/** Operators that resample images. */
export const resizeAdapters: AdapterTable = {
  GridSample: {
    20: (rewrite) => {
      const mode = rewrite.string('mode') ?? 'bilinear';
      const renamed = renamedModes.get(mode);
      if (renamed === undefined) throw new Blocked(`its mode is "${mode}"`);
      rewrite.set('mode', attribute.string(renamed));
    },
  },
  Resize: { 11: resize11, 13: resize13 },
  RoiAlign: {
    // Half a pixel was taken off the coordinates only from opset 16 on.
    16: (rewrite) => {
      rewrite.set('coordinate_transformation_mode', attribute.string('output_half_pixel'));
    },
  },
  Upsample: { 7: upsample7, 9: upsample9, 11: upsample11 },
};
