import { type Batch, concatRows, elementsOf, errors, formatShape, sliceRows, type Tensor } from '@lithe/core';
import type { DataFile, DataLimits } from './byte-source.ts';
import { castTo } from './cast.ts';
import { openIdx } from './idx.ts';
import { preprocessImage } from './image/preprocess.ts';
import {
  type InputSpec,
  type PreprocessingInput,
  parsePreprocessing,
  preprocessingFor,
} from './image/preprocessing.ts';
import { fixBatch, type IndexedDataset, indexedDataset } from './indexed-dataset.ts';
import type { ArrayFile } from './npy.ts';

/** Whether a file looks like IDX, by its name: `train-images-idx3-ubyte.gz`, `digits.idx`. */
export function isIdxFile(file: DataFile): boolean {
  return /[.-]idx\d?([.-]\w+)?(\.gz)?$/i.test(file.path);
}

/** How an {@link idxDataset} is made. */
export interface IdxDatasetOptions {
  /** Image preprocessing, over what the model input says. */
  readonly preprocessing?: PreprocessingInput | undefined;
  /** Which pair of files, where there are several: the beginning of their names, such as `train` or `t10k`. */
  readonly part?: string | undefined;
  /** Samples per batch; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Limits. */
  readonly limits?: DataLimits | undefined;
  /** Where it came from, for reports. */
  readonly description?: string | undefined;
}

/**
 * A dataset of IDX images, with the IDX labels that belong to them as target `label` where they are there. Images are
 * preprocessed like any grey image; for an input that is not an image, such as `[N, 784]`, their pixels are scaled and
 * laid out in its shape.
 *
 * @throws {LitheError} DATA_INVALID when there is no image file, several and no `part`, or sizes do not fit
 */
export async function idxDataset(
  files: readonly DataFile[],
  input: InputSpec,
  options: IdxDatasetOptions = {},
): Promise<IndexedDataset> {
  const description = options.description ?? 'IDX files';
  const { images, labels } = pair(files, options.part, description);
  const pixels = await openIdx(images.source, options.limits);
  if (pixels.dtype !== 'uint8' || pixels.shape.length < 2 || pixels.shape.length > 3) {
    throw errors.dataInvalid(
      images.path,
      `it holds ${pixels.dtype}${formatShape(pixels.shape)}, not grey images.`,
    );
  }
  const classes = labels === undefined ? undefined : await openIdx(labels.source, options.limits);
  const [items] = pixels.shape as readonly [number];
  if (classes !== undefined && (classes.shape.length !== 1 || classes.shape[0] !== items)) {
    throw errors.dataInvalid(classes.name, `it has shape ${formatShape(classes.shape)} for ${items} images.`);
  }
  const prepare = preparation(pixels, input, options.preprocessing);
  // A file is opened once for all images of a batch: opening it takes longer than reading one.
  const range = async (start: number, end: number): Promise<Batch> => {
    const inputs = { [input.name]: prepare(await pixels.rows(start, end)) };
    const size = end - start;
    if (classes === undefined) return { inputs, size };
    const label = castTo(await classes.rows(start, end), 'int64', classes.name);
    return { inputs, targets: { label }, size };
  };
  const dataset = indexedDataset({
    items,
    batchSize: options.batchSize,
    description,
    item: (index) => range(index, index + 1),
    range,
  });
  const batch = input.shape?.[0];
  return typeof batch === 'number' ? fixBatch(dataset, batch) : dataset;
}

function pair(
  files: readonly DataFile[],
  part: string | undefined,
  description: string,
): { readonly images: DataFile; readonly labels: DataFile | undefined } {
  const nameOf = (file: DataFile): string => file.path.slice(file.path.lastIndexOf('/') + 1);
  const candidates = files.filter(
    (file) => !/label/i.test(nameOf(file)) && (part === undefined || nameOf(file).startsWith(part)),
  );
  const [images, another] = candidates;
  if (images === undefined) throw errors.dataInvalid(description, 'there is no IDX file of images.');
  if (another !== undefined) {
    throw errors.dataInvalid(
      description,
      `there are several IDX files of images: ${candidates.map((file) => file.path).join(', ')}.`,
      'Give `part`, the beginning of the name, such as "train" or "t10k".',
    );
  }
  const key = (file: DataFile): string =>
    nameOf(file)
      .toLowerCase()
      .split(/images?|labels?/)[0] as string;
  const labels = files.filter((file) => /label/i.test(nameOf(file)) && key(file) === key(images));
  return { images, labels: labels[0] };
}

/** A function that turns rows of pixels, `[N, H, W]`, into a batch. */
function preparation(
  pixels: ArrayFile,
  input: InputSpec,
  given: PreprocessingInput | undefined,
): (rows: Tensor) => Tensor {
  const [, height = 1, width = 1] = pixels.shape;
  const sample = input.shape?.slice(1);
  const isImage = input.shape?.length === 4;
  const elements =
    sample?.every((dim) => typeof dim === 'number') === true
      ? elementsOf(sample as readonly number[])
      : undefined;
  if (!isImage && input.shape !== undefined && elements !== height * width) {
    throw errors.dataInvalid(
      pixels.name,
      `its images of ${height} by ${width} pixels do not fit input "${input.name}" of shape ${formatShape(input.shape)}.`,
    );
  }
  const open = isImage && input.shape.slice(1).some((dim) => typeof dim !== 'number');
  // An image input that leaves its size open takes the images as they are.
  const config = isImage
    ? preprocessingFor(input, open ? { resize: { mode: 'none' }, ...given } : given)
    : parsePreprocessing({
        channels: 'gray',
        dtype: input.dtype === 'uint8' ? 'uint8' : 'float32',
        ...given,
      });
  const prepared = (row: Tensor): Tensor => {
    const grey = row.bytes;
    const rgb = new Uint8Array(3 * grey.length);
    for (let index = 0, to = 0; index < grey.length; index++) {
      const level = grey[index]!;
      rgb[to++] = level;
      rgb[to++] = level;
      rgb[to++] = level;
    }
    const tensor = preprocessImage({ width, height, rgb }, config);
    return isImage
      ? tensor
      : tensor.reshape([1, ...((sample as readonly number[] | undefined) ?? [height, width])]);
  };
  return (rows) =>
    concatRows(
      Array.from({ length: rows.shape[0] ?? 0 }, (_, row) => prepared(sliceRows(rows, row, row + 1))),
    );
}
