/**
 * Readers of data for calibration, evaluation and training: NPY, NPZ, IDX and images, in Node and the browser.
 *
 * @packageDocumentation
 */
export {
  type ByteSource,
  blobSource,
  bytesSource,
  type DataFile,
  type DataLimits,
  defaultMaxBytes,
  defaultMaxPixels,
  filesFromBrowser,
} from './byte-source.ts';
export { castTo } from './cast.ts';
export { openIdx, readIdx } from './idx.ts';
export { type IdxDatasetOptions, idxDataset } from './idx-files.ts';
export { type DecodeOptions, decodeImage, type ImageFormat, imageFormat } from './image/decode.ts';
export type { Image, PlatformDecoder } from './image/image.ts';
export { preprocessImage } from './image/preprocess.ts';
export {
  type CropSize,
  type InputSpec,
  type Preprocessing,
  type PreprocessingInput,
  parsePreprocessing,
  preprocessingFor,
  preprocessingJsonSchema,
  type ResizeExact,
  type ResizeFitPad,
  type ResizeLongestEdge,
  type ResizeMode,
  type ResizeNone,
  type ResizeShortestEdge,
  type SamplingOptions,
} from './image/preprocessing.ts';
export { type Interpolation, type ResizeTo, resizeImage } from './image/resize.ts';
export { type ImageDatasetOptions, imageDataset } from './image-files.ts';
export {
  fixBatch,
  type IndexedDataset,
  type IndexedDatasetInit,
  indexedDataset,
  type SplitOptions,
  shuffled,
  split,
} from './indexed-dataset.ts';
export { findLabels, type Labels } from './labels.ts';
export { type ArrayFile, openNpy, readNpy, writeNpy } from './npy.ts';
export { readNpz, type WriteNpzOptions, writeNpz } from './npz.ts';
export { type OpenDatasetOptions, openDataset } from './open-dataset.ts';
export { memoryCache, type SampleCache, sampleKey } from './sample-cache.ts';
