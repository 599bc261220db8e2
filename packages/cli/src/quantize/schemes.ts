import type { StepList } from '@lithe/core';
import {
  dynamicInt8,
  float16Compute,
  float16Storage,
  foldableWeights,
  staticInt8,
  weightOnly,
} from '@lithe/quantization';

/** Sizes of blocks that `--block-size` takes. */
export const blockSizes = [16, 32, 64, 128, 256] as const;

/** A size of blocks. */
export type BlockSize = (typeof blockSizes)[number];

/** What a scheme's passes are made of. */
export interface SchemeOptions {
  /** Weights per scale, for schemes in blocks. */
  readonly blockSize: BlockSize;
}

/** A way to quantize. */
export interface Scheme {
  /** One line for the help. */
  readonly summary: string;
  /** Whether activations are calibrated, which takes data and a runtime. */
  readonly calibrated?: boolean;
  /** Its passes. */
  readonly steps: (options: SchemeOptions) => StepList;
}

/** Ways to quantize, by the name that `--scheme` takes. */
export const schemes: Readonly<Record<string, Scheme>> = {
  'foldable-int8': {
    summary: 'int8 weights, expanded by the runtime at load; 4x smaller at float speed, everywhere',
    steps: () => [foldableWeights({ bits: 8 })],
  },
  'foldable-int4': {
    summary: 'int4 weights, expanded by the runtime at load; about 6x smaller at float speed',
    steps: ({ blockSize }) => [foldableWeights({ bits: 4, blockSize })],
  },
  'float16-storage': {
    summary: 'float16 weights, expanded by the runtime at load; 2x smaller',
    steps: () => [float16Storage()],
  },
  float16: {
    summary: 'float16 weights and arithmetic; inputs and outputs stay float32',
    steps: () => [float16Compute()],
  },
  'weight-int8': {
    summary: 'int8 weights behind DequantizeLinear',
    steps: ({ blockSize }) => [weightOnly({ bits: 8, format: 'dequantize-linear', blockSize })],
  },
  'weight-int4': {
    summary: 'int4 weights in blocks for MatMulNBits',
    steps: ({ blockSize }) => [weightOnly({ bits: 4, format: 'matmul-nbits', blockSize })],
  },
  'weight-int4-dq': {
    summary: 'int4 weights in blocks behind DequantizeLinear (opset 21)',
    steps: ({ blockSize }) => [weightOnly({ bits: 4, format: 'dequantize-linear', blockSize })],
  },
  'dynamic-int8': {
    summary: 'int8 matrix products, activations quantized as they come',
    steps: () => [dynamicInt8()],
  },
  'static-int8': {
    summary: 'int8 arithmetic with calibrated activations (needs --calibrate)',
    calibrated: true,
    steps: () => [staticInt8()],
  },
};
