import { type Dataset, type EncodedModel, isLitheError, type RunContext, type Target } from '@lithe/core';
import { type Bench, openBench } from '../compress/bench.ts';
import { outputTraits } from '../compress/output-traits.ts';
import type { ModelFile } from '../model-file.ts';
import type { Verification } from './report.ts';

/** A file to verify. */
export interface Subject {
  /** Names it in progress. */
  readonly name: string;
  /** The file as a runtime loads it. */
  readonly encoded: EncodedModel;
}

/** How files are verified. */
export interface VerifySetOptions {
  /** The float model. */
  readonly original: ModelFile;
  /** Threads of the runtime. */
  readonly threads: number;
  /** Inputs. */
  readonly data: Dataset;
  /** Samples that drift is taken on. */
  readonly samples: number;
  /** Rounds of the latency measurement. */
  readonly rounds: number;
  /** Told when a new phase begins. */
  readonly onPhase?: ((text: string) => void) | undefined;
}

/** What one runtime says of all files, in their order. */
export interface RuntimeVerdict {
  /** The runtime and its version. */
  readonly runtime: string;
  /** One per file. */
  readonly verifications: readonly Verification[];
}

/** How a GPU without half-precision arithmetic refuses a float16 model. */
const missingFeature =
  /shader-?f16|requires? (the )?f16|f16.*(not supported|extension)|not support(ed)? f16/i;

function whyRefused(target: Target, error: unknown): Verification {
  const text = error instanceof Error ? `${error.message} ${String(error.cause ?? '')}` : String(error);
  if (missingFeature.test(text)) {
    const reason = 'the GPU of this machine has no half-precision arithmetic (shader-f16)';
    return { state: 'unverified', target: target.name, reason };
  }
  const reason =
    isLitheError(error) && error.hint !== undefined ? `${error.message} ${error.hint}` : text.trim();
  return { state: 'failed', target: target.name, reason };
}

async function verifyOne(
  target: Target,
  bench: Bench,
  subject: Subject,
  how: { readonly rounds: number; readonly context: RunContext },
): Promise<Verification> {
  const { rounds, context } = how;
  try {
    const executable = await bench.compile(subject.encoded);
    try {
      const drift = await bench.drift(executable);
      const latency = await bench.latency(executable, rounds);
      return { state: 'measured', target: target.name, drift, latency };
    } finally {
      await executable.dispose();
    }
  } catch (error) {
    context.signal.throwIfAborted();
    return whyRefused(target, error);
  }
}

/**
 * Runs files beside the float model in one runtime.
 *
 * @throws {LitheError} BACKEND_UNAVAILABLE when the runtime is missing; BACKEND_FAILED when it refuses the float model
 */
export async function verifySet(
  target: Target,
  subjects: readonly Subject[],
  options: VerifySetOptions,
  context: RunContext,
): Promise<RuntimeVerdict & { readonly samples: number }> {
  const { original, threads, data, samples, rounds, onPhase } = options;
  const backend = await target.open(context, { threads });
  try {
    onPhase?.(`running the float model in ${backend.name} ${backend.version}`);
    const outputs = outputTraits(original.model);
    const settings = { data, evaluate: undefined, driftSamples: samples, outputs };
    const bench = await openBench(backend, original.encoded, settings, context);
    try {
      const verifications: Verification[] = [];
      for (const subject of subjects) {
        context.signal.throwIfAborted();
        onPhase?.(`verifying ${subject.name} in ${target.name}`);
        verifications.push(await verifyOne(target, bench, subject, { rounds, context }));
      }
      return { runtime: `${backend.name} ${backend.version}`, verifications, samples: bench.samples };
    } finally {
      await bench.dispose();
    }
  } finally {
    await backend.dispose();
  }
}
