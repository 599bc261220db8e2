import type { FormatAdvice, RunContext, Target } from '@lithe/core';
import { openWasmTarget } from '#platform';
import type { OnnxRuntimeBackend } from '../backend.ts';
import type { OnnxRuntimeOptions, WebFiles } from '../options.ts';
import { cpuFusesQdq, cpuIntegerRules } from './qdq-fusion.ts';

/** Options of the targets that run in a browser. */
export interface BrowserTargetOptions extends OnnxRuntimeOptions, WebFiles {
  /**
   * In Node: path of the Chrome or Chromium to measure in. By default the variable `CHROME_PATH`, then an installed
   * one, then the npm package `@sparticuz/chromium`.
   */
  readonly browser?: string | undefined;
}

const formats: readonly FormatAdvice[] = [
  {
    format: 'static-int8',
    verdict: 'fast',
    reason:
      'dense convolutions and long matrix products run in int8, about 2.5 times as fast; single rows and depthwise convolutions lose',
  },
  {
    format: 'dynamic-int8',
    verdict: 'fast',
    reason: 'long matrix products run in int8, about 2.5 times as fast; single rows and convolutions lose',
  },
  {
    format: 'foldable-int8',
    verdict: 'neutral',
    reason: 'expanded at load: float speed, a quarter of the download',
  },
  {
    format: 'foldable-int4',
    verdict: 'neutral',
    reason: 'expanded at load: float speed, a sixth of the download',
  },
  {
    format: 'float16-storage',
    verdict: 'neutral',
    reason: 'expanded at load: float speed, half the download',
  },
  { format: 'float32', verdict: 'neutral', reason: 'the baseline' },
  { format: 'float16', verdict: 'slow', reason: 'WASM computes in float and casts around every operator' },
  {
    format: 'dequantize-int8',
    verdict: 'slow',
    reason: 'the weights are expanded in every run, up to 20 times slower',
  },
  {
    format: 'dequantize-int4',
    verdict: 'slow',
    reason: 'the weights are expanded in every run, up to 25 times slower',
  },
  {
    format: 'matmul-nbits-4',
    verdict: 'slow',
    reason: 'there is no WASM kernel: the weights are expanded in every run, up to 30 times slower',
  },
  {
    format: 'matmul-nbits-8',
    verdict: 'slow',
    reason: 'there is no WASM kernel: the weights are expanded in every run, up to 20 times slower',
  },
];

/**
 * The target `wasm`: the WASM build of onnxruntime-web. In a browser it is opened there; in Node in a headless
 * Chromium, or, where none is found, in Node itself: `version` and the missing feature `browser` say so.
 *
 * @param options passed to the backend when the target is opened
 */
export function wasmTarget(options: BrowserTargetOptions = {}): Target {
  return {
    name: 'wasm',
    description: 'onnxruntime-web on WASM, in a browser.',
    profile: {
      formats,
      unsignedActivations: true,
      channelMultiple: 1,
      fusesQdq: cpuFusesQdq,
      integers: cpuIntegerRules('always'),
      // As for node-cpu: conversions cost more here, and depthwise convolutions have no integer kernel of their own.
      integerCosts: { conversion: 80, depthwise: -44 },
    },
    open: (context: RunContext, open = {}): Promise<OnnxRuntimeBackend> =>
      openWasmTarget({ ...options, threads: open.threads ?? options.threads ?? 1 }, context),
  };
}
