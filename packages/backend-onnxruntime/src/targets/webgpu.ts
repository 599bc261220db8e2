import type { FormatAdvice, RunContext, Target } from '@lithe/core';
import { openWebgpuTarget } from '#platform';
import type { OnnxRuntimeBackend } from '../backend.ts';
import type { BrowserTargetOptions } from './wasm.ts';

const formats: readonly FormatAdvice[] = [
  {
    format: 'matmul-nbits-4',
    verdict: 'fast',
    reason:
      'matrix products read 4-bit weights on the GPU; best with blocks of 32, K a multiple of 128 and N of 16',
  },
  {
    format: 'float16',
    verdict: 'fast',
    reason: 'half the memory traffic, where the GPU has shader-f16; elsewhere it does not run',
  },
  { format: 'matmul-nbits-8', verdict: 'neutral', reason: 'matrix products read 8-bit weights on the GPU' },
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
  { format: 'dequantize-int8', verdict: 'slow', reason: 'the weights are expanded in every run' },
  { format: 'dequantize-int4', verdict: 'slow', reason: 'the weights are expanded in every run' },
  {
    format: 'static-int8',
    verdict: 'slow',
    reason: 'every QuantizeLinear runs on the CPU, and its tensor crosses twice',
  },
  {
    format: 'dynamic-int8',
    verdict: 'slow',
    reason: 'the integer products run on the CPU, and their tensors cross twice',
  },
];

/**
 * The target `webgpu`: onnxruntime-web's native WebGPU provider. In a browser it is opened there; in Node in a
 * headless Chromium, on the machine's GPU or, without one, on SwiftShader: the feature `software-gpu` says that its
 * times mean nothing for GPUs.
 *
 * @param options passed to the backend when the target is opened
 */
export function webgpuTarget(options: BrowserTargetOptions = {}): Target {
  return {
    name: 'webgpu',
    description: 'onnxruntime-web on WebGPU, in a browser.',
    profile: {
      formats,
      unsignedActivations: true,
      channelMultiple: 4,
      fusesQdq: (node) => ({
        ok: false,
        reason: `${node.opType} stays in float: onnxruntime has no integer operators on WebGPU`,
      }),
    },
    open: (_context: RunContext, open = {}): Promise<OnnxRuntimeBackend> =>
      openWebgpuTarget({ ...options, threads: open.threads ?? options.threads ?? 1 }),
  };
}
