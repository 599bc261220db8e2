import type { FormatAdvice, RunContext, Target, TargetProfile } from '@lithe/core';
import { machine, openNode } from '#platform';
import type { OnnxRuntimeBackend } from '../backend.ts';
import type { OnnxRuntimeOptions } from '../options.ts';
import { cpuFusesQdq, cpuIntegerRules } from './qdq-fusion.ts';

const formats: readonly FormatAdvice[] = [
  {
    format: 'static-int8',
    verdict: 'fast',
    reason: 'dense convolutions and matrix products run in int8, about 3 times as fast as float',
  },
  {
    format: 'dynamic-int8',
    verdict: 'fast',
    reason: 'matrix products run in int8, about 3 times as fast; convolutions would lose and stay in float',
  },
  {
    format: 'matmul-nbits-4',
    verdict: 'fast',
    reason: 'with accuracy_level 4 up to 4 times as fast for single tokens; no gain for long sequences',
  },
  {
    format: 'matmul-nbits-8',
    verdict: 'fast',
    reason: 'with accuracy_level 4 up to 3 times as fast for single tokens; no gain for long sequences',
  },
  {
    format: 'dequantize-int8',
    verdict: 'fast',
    reason: 'up to 3 times as fast for matrix products of single rows; convolutions lose a quarter',
  },
  {
    format: 'dequantize-int4',
    verdict: 'fast',
    reason: 'becomes MatMulNBits at load: up to 4 times as fast for matrix products of single rows',
  },
  {
    format: 'foldable-int8',
    verdict: 'neutral',
    reason: 'expanded at load: float speed, 4 times smaller file',
  },
  {
    format: 'foldable-int4',
    verdict: 'neutral',
    reason: 'expanded at load: float speed, over 6 times smaller file',
  },
  { format: 'float16-storage', verdict: 'neutral', reason: 'expanded at load: float speed, half the file' },
  { format: 'float32', verdict: 'neutral', reason: 'the baseline' },
  {
    format: 'float16',
    verdict: 'slow',
    reason: 'the CPU provider has few half-precision kernels and casts around the rest',
  },
];

/** Names under which the command line and recipes know it. */
const name = 'node-cpu';

/**
 * The target `node-cpu`: onnxruntime-node on this machine's CPU.
 *
 * @param options passed to the backend when the target is opened
 */
export function nodeCpuTarget(options: OnnxRuntimeOptions = {}): Target {
  const { architecture, convolutionBlock } = machine();
  const isX86 = architecture === 'x64' || architecture === 'ia32';
  const profile: TargetProfile = {
    formats,
    // On x86 signed activations stop fusing wherever a tensor has two readers; ARM takes either.
    unsignedActivations: isX86,
    channelMultiple: convolutionBlock,
    fusesQdq: cpuFusesQdq,
    integers: cpuIntegerRules(isX86 ? 'single-reader' : 'always'),
    // Of stacks of pointwise and depthwise convolutions, 32 to 128 channels (apps/bench/src/quantization/depthwise.ts).
    integerCosts: { conversion: 48, depthwise: -6.8 },
  };
  return {
    name,
    description: 'onnxruntime-node on the CPU of this machine.',
    profile,
    open: (_context: RunContext, open = {}): Promise<OnnxRuntimeBackend> =>
      openNode({ ...options, threads: open.threads ?? options.threads ?? 1 }),
  };
}
