import { createRunContext } from '@lithe/core';
import { backendConformance, type Gap } from '@lithe/testkit';
import { describe, it } from 'vitest';
import { wasmTarget, webgpuTarget } from '../src/index.ts';

describe('WASM in Chromium', () => {
  backendConformance(() => wasmTarget().open(createRunContext()), { describe, it });
});

/** What WGSL leaves to the device, and SwiftShader, the device of these tests, makes use of. */
const issue = 'https://www.w3.org/TR/WGSL/#floating-point-accuracy';
const gaps: readonly Gap[] = [
  { case: 'Log/by hand', reason: 'The logarithm of 0 is -88.03 instead of -Infinity.', issue },
  { case: 'Cos/random', reason: 'Cosines may be off by 2^-11.', issue },
  { case: 'Sin/random', reason: 'Sines may be off by 2^-11.', issue },
  // The CPU provider follows the specification since the issue was mended; the kernels of WebGPU hand on the input.
  ...['ReduceSumSquare', 'ReduceL1', 'ReduceL2', 'ReduceLogSum'].map((op) => ({
    case: `${op}/over no axes`,
    reason: 'Its input is handed on: no square, absolute value or logarithm is taken.',
    issue: 'https://github.com/microsoft/onnxruntime/issues/26288',
  })),
];

describe('WebGPU in Chromium', () => {
  backendConformance(() => webgpuTarget().open(createRunContext()), { describe, it, gaps });
});
