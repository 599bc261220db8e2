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
];

describe('WebGPU in Chromium', () => {
  backendConformance(() => webgpuTarget().open(createRunContext()), { describe, it, gaps });
});
