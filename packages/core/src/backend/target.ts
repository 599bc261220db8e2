import type { RunContext } from '../context/run-context.ts';
import type { Node } from '../ir/node.ts';
import type { Backend } from './backend.ts';
import type { IntegerCosts, IntegerRules } from './integer-rules.ts';

/**
 * Storage and arithmetic formats that a recipe can choose from. `foldable` stores integers that the runtime expands
 * to floats once, at load; the others compute in the format.
 */
export type WeightFormat =
  | 'float32'
  | 'float16-storage'
  | 'float16'
  | 'foldable-int8'
  | 'foldable-int4'
  | 'dequantize-int8'
  | 'dequantize-int4'
  | 'matmul-nbits-4'
  | 'matmul-nbits-8'
  | 'dynamic-int8'
  | 'static-int8';

/** Whether a format is worth a try on a target. */
export interface FormatAdvice {
  /** The format. */
  readonly format: WeightFormat;
  /** `fast`: known to speed some models up; `neutral`: float speed, smaller file; `slow`: known to lose; `unsupported`: does not run or is wrong. */
  readonly verdict: 'fast' | 'neutral' | 'slow' | 'unsupported';
  /** Why, as a short clause for reports. */
  readonly reason: string;
}

/** What the runtime does with integer operators, as data. */
export interface TargetProfile {
  /** What is known about each format, best first. */
  readonly formats: readonly FormatAdvice[];
  /** Whether activations should be unsigned in 8-bit static quantization. */
  readonly unsignedActivations: boolean;
  /** Multiple that output channels are best kept at; 1 where any number is as good. */
  readonly channelMultiple: number;
  /** Whether the target quantizes this node to integers when wrapped in Quantize/Dequantize pairs; `reason` when not. */
  fusesQdq(node: Node): { readonly ok: true } | { readonly ok: false; readonly reason: string };
  /** How pairs become integer operators; absent where nothing is computed in integers or nothing is known. */
  readonly integers?: IntegerRules | undefined;
  /** What integer arithmetic costs; absent where nothing is known. */
  readonly integerCosts?: IntegerCosts | undefined;
}

/** How a target is opened. */
export interface OpenTargetOptions {
  /** Threads; 1 by default, so that figures compare. */
  readonly threads?: number | undefined;
}

/**
 * A named runtime that a model is compressed for and measured in: `node-cpu`, `wasm`, `webgpu`, or a third
 * party's.
 */
export interface Target {
  /** Name as the command line takes it. */
  readonly name: string;
  /** One sentence on what it is. */
  readonly description: string;
  /** What it does with integer operators. */
  readonly profile: TargetProfile;
  /**
   * Opens the runtime to measure in. The caller disposes the backend.
   *
   * @throws {LitheError} BACKEND_UNAVAILABLE naming what to install
   */
  open(context: RunContext, options?: OpenTargetOptions): Promise<Backend>;
}
