import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import { fromNumbers, int64Tensor, toIntegers } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';
import { planWindow, windowAttributes } from './window.ts';

/** Corners of a box, ordered. */
type Box = readonly [top: number, left: number, bottom: number, right: number];

function boxAt(boxes: Float64Array, index: number, centred: boolean): Box {
  const at = 4 * index;
  const [a, b, c, d] = [boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!];
  if (centred) return [b - d / 2, a - c / 2, b + d / 2, a + c / 2];
  return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
}

function overlap(left: Box, right: Box): number {
  const height = Math.min(left[2], right[2]) - Math.max(left[0], right[0]);
  const width = Math.min(left[3], right[3]) - Math.max(left[1], right[1]);
  if (height <= 0 || width <= 0) return 0;
  const area = (box: Box): number => (box[2] - box[0]) * (box[3] - box[1]);
  const shared = height * width;
  return shared / (area(left) + area(right) - shared);
}

/**
 * ONNX `NonMaxSuppression` (opset 11): per batch entry and class, boxes by falling score, each kept unless it
 * overlaps a kept one by more than the threshold. Gives `[count, 3]`: batch, class, box.
 */
const nonMaxSuppression: ReferenceKernel = (context) => {
  const { center_point_box: centred } = context.attributes({ center_point_box: attr.flag(false) });
  const [boxes, scores] = [context.tensor(0), context.tensor(1)];
  const limit = context.optional(2)?.toFloat64Array()[0] ?? 0;
  const threshold = context.optional(3)?.toFloat64Array()[0] ?? 0;
  const least = context.optional(4)?.toFloat64Array()[0] ?? Number.NEGATIVE_INFINITY;
  if (
    boxes.shape.length !== 3 ||
    scores.shape.length !== 3 ||
    boxes.shape[2] !== 4 ||
    boxes.shape[1] !== scores.shape[2]
  ) {
    context.fail(`boxes [${boxes.shape.join(', ')}] do not fit scores [${scores.shape.join(', ')}]`);
  }
  const [batch, classes, count] = scores.shape as [number, number, number];
  const corners = boxes.toFloat64Array();
  const values = scores.toFloat64Array();
  const found: number[] = [];
  for (let n = 0; n < batch; n++) {
    for (let c = 0; c < classes; c++) {
      const scoreOf = (index: number): number => values[(n * classes + c) * count + index]!;
      const order = Array.from({ length: count }, (_, index) => index).filter(
        (index) => scoreOf(index) > least,
      );
      order.sort((left, right) => scoreOf(right) - scoreOf(left) || left - right);
      const kept: { index: number; box: Box }[] = [];
      for (const index of order) {
        if (kept.length >= limit) break;
        const box = boxAt(corners, n * count + index, centred);
        if (!kept.some((other) => overlap(other.box, box) > threshold)) kept.push({ index, box });
      }
      for (const { index } of kept) found.push(n, c, index);
    }
  }
  return [int64Tensor([found.length / 3, 3], found)];
};

/** The four pixels around a point of a plane, with their bilinear weights; none outside by more than a pixel. */
function bilinear(
  y: number,
  x: number,
  height: number,
  width: number,
): readonly (readonly [number, number])[] {
  if (y < -1 || y > height || x < -1 || x > width) return [];
  const top = Math.min(Math.max(y, 0), height - 1);
  const left = Math.min(Math.max(x, 0), width - 1);
  const [y0, x0] = [Math.floor(top), Math.floor(left)];
  const [y1, x1] = [Math.min(y0 + 1, height - 1), Math.min(x0 + 1, width - 1)];
  const [dy, dx] = [top - y0, left - x0];
  return [
    [y0 * width + x0, (1 - dy) * (1 - dx)],
    [y0 * width + x1, (1 - dy) * dx],
    [y1 * width + x0, dy * (1 - dx)],
    [y1 * width + x1, dy * dx],
  ];
}

/** ONNX `RoiAlign` (opset 16): mean or maximum of bilinear samples in each bin of each region (He et al., 2017). */
const roiAlign: ReferenceKernel = (context) => {
  const options = context.attributes({
    coordinate_transformation_mode: attr.oneOf(['half_pixel', 'output_half_pixel'], 'half_pixel'),
    mode: attr.oneOf(['avg', 'max'], 'avg'),
    output_height: attr.int(1),
    output_width: attr.int(1),
    sampling_ratio: attr.int(0),
    spatial_scale: attr.float(1),
  });
  const [input, rois] = [context.tensor(0), context.tensor(1)];
  const batches = toIntegers(context.tensor(2));
  if (
    input.shape.length !== 4 ||
    rois.shape.length !== 2 ||
    rois.shape[1] !== 4 ||
    batches.length !== rois.shape[0]
  ) {
    context.fail(`regions [${rois.shape.join(', ')}] do not fit an input [${input.shape.join(', ')}]`);
  }
  const [batch, channels, height, width] = input.shape as [number, number, number, number];
  const { output_height: rows, output_width: columns } = options;
  const shape = [batches.length, channels, rows, columns];
  const out = new Float64Array(context.guard(input.dtype, shape));
  const values = input.toFloat64Array();
  const corners = rois.toFloat64Array();
  const half = options.coordinate_transformation_mode === 'half_pixel';
  for (let roi = 0; roi < batches.length; roi++) {
    const [x0, y0, x1, y1] = Array.from(
      corners.subarray(roi * 4, roi * 4 + 4),
      (item) => item * options.spatial_scale - (half ? 0.5 : 0),
    ) as [number, number, number, number];
    const entry = batches[roi]!;
    if (entry < 0 || entry >= batch) context.fail(`batch index ${entry} is outside ${batch}`);
    const regionHeight = half ? y1 - y0 : Math.max(y1 - y0, 1);
    const regionWidth = half ? x1 - x0 : Math.max(x1 - x0, 1);
    const [binHeight, binWidth] = [regionHeight / rows, regionWidth / columns];
    const downs = options.sampling_ratio > 0 ? options.sampling_ratio : Math.ceil(binHeight);
    const acrosses = options.sampling_ratio > 0 ? options.sampling_ratio : Math.ceil(binWidth);
    context.guard('float64', [downs, acrosses, 8]);
    for (let bin = 0; bin < rows * columns; bin++) {
      const [row, column] = [Math.floor(bin / columns), bin % columns];
      const samples: (readonly (readonly [number, number])[])[] = [];
      for (let down = 0; down < downs; down++) {
        for (let across = 0; across < acrosses; across++) {
          const y = y0 + row * binHeight + ((down + 0.5) * binHeight) / downs;
          const x = x0 + column * binWidth + ((across + 0.5) * binWidth) / acrosses;
          samples.push(bilinear(y, x, height, width));
        }
      }
      for (let c = 0; c < channels; c++) {
        const plane = (entry * channels + c) * height * width;
        out[(roi * channels + c) * rows * columns + bin] =
          options.mode === 'avg'
            ? averageSample(values, plane, samples)
            : largestSample(values, plane, samples);
      }
    }
  }
  return [fromNumbers(input.dtype, shape, out)];
};

type Samples = readonly (readonly (readonly [number, number])[])[];

function averageSample(values: Float64Array, plane: number, samples: Samples): number {
  let sum = 0;
  for (const taps of samples) for (const [at, weight] of taps) sum += weight * values[plane + at]!;
  return sum / Math.max(samples.length, 1);
}

/** The published test data and runtimes take the largest weighted pixel, not the largest interpolated sample. */
function largestSample(values: Float64Array, plane: number, samples: Samples): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const taps of samples) {
    if (taps.length === 0) largest = Math.max(largest, 0);
    for (const [at, weight] of taps) largest = Math.max(largest, weight * values[plane + at]!);
  }
  return samples.length === 0 ? 0 : largest;
}

/** ONNX `DeformConv` (opset 19): a 2-D `Conv` whose taps are moved by learned offsets and scaled by a mask (Dai et al., 2017; Zhu et al., 2018). */
const deformConv: ReferenceKernel = (context) => {
  const options = context.attributes({ ...windowAttributes, group: attr.int(1), offset_group: attr.int(1) });
  const [x, w, offset] = [context.tensor(0), context.tensor(1), context.tensor(2)];
  const [bias, mask] = [context.optional(3)?.toFloat64Array(), context.optional(4)?.toFloat64Array()];
  if (x.shape.length !== 4 || w.shape.length !== 4) context.fail('only two spatial axes are computed');
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [maps, perGroup] = w.shape as [number, number];
  const window = planWindow(context, [height, width], w.shape.slice(2), options);
  const [rows, columns] = window.output as [number, number];
  const taps = elementsOf(window.kernel);
  const places = rows * columns;
  const { group, offset_group: offsetGroups } = options;
  if (channels !== perGroup * group || maps % group !== 0 || channels % offsetGroups !== 0)
    context.fail(`${channels} channels do not split into the groups`);
  if (offset.shape.join() !== [batch, offsetGroups * taps * 2, rows, columns].join())
    context.fail(`offsets [${offset.shape.join(', ')}] do not fit`);
  if (mask !== undefined && mask.length !== batch * offsetGroups * taps * places)
    context.fail(`${mask.length} mask elements do not fit`);
  const shape = [batch, maps, rows, columns];
  const out = new Float64Array(context.guard(x.dtype, shape));
  const [values, weights, moves] = [x.toFloat64Array(), w.toFloat64Array(), offset.toFloat64Array()];
  for (let index = 0; index < out.length; index++) {
    const place = index % places;
    const m = Math.floor(index / places) % maps;
    const n = Math.floor(index / (places * maps));
    let sum = bias === undefined ? 0 : bias[m]!;
    for (let c = 0; c < perGroup; c++) {
      const channel = Math.floor(m / (maps / group)) * perGroup + c;
      const og = Math.floor(channel / (channels / offsetGroups));
      const plane = (n * channels + channel) * height * width;
      for (let tap = 0; tap < taps; tap++) {
        const at = ((n * offsetGroups + og) * taps + tap) * 2 * places + place;
        const y =
          Math.floor(place / columns) * window.strides[0]! -
          window.before[0]! +
          Math.floor(tap / window.kernel[1]!) * window.dilations[0]! +
          moves[at]!;
        const across =
          (place % columns) * window.strides[1]! -
          window.before[1]! +
          (tap % window.kernel[1]!) * window.dilations[1]! +
          moves[at + places]!;
        const scale = mask === undefined ? 1 : mask[((n * offsetGroups + og) * taps + tap) * places + place]!;
        sum +=
          weights[(m * perGroup + c) * taps + tap]! *
          scale *
          interpolated(values, plane, { y, x: across, height, width });
      }
    }
    out[index] = sum;
  }
  return [fromNumbers(x.dtype, shape, out)];
};

/** A bilinear sample of a plane that is zero outside. */
function interpolated(
  values: Float64Array,
  plane: number,
  {
    y,
    x,
    height,
    width,
  }: { readonly y: number; readonly x: number; readonly height: number; readonly width: number },
): number {
  let sum = 0;
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  for (let corner = 0; corner < 4; corner++) {
    const row = y0 + (corner >> 1);
    const column = x0 + (corner & 1);
    if (row < 0 || row >= height || column < 0 || column >= width) continue;
    sum += values[plane + row * width + column]! * (1 - Math.abs(y - row)) * (1 - Math.abs(x - column));
  }
  return sum;
}

/** Regions and boxes: `ai.onnx`. */
export const detectionKernels: KernelTable = {
  DeformConv: deformConv,
  NonMaxSuppression: nonMaxSuppression,
  RoiAlign: roiAlign,
};
