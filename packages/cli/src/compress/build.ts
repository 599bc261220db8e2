import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Backend,
  type Dataset,
  type EncodedModel,
  type Model,
  type OptimizeReport,
  optimize,
  type RunOptions,
  type Target,
} from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import type { Candidate } from './candidates.ts';
import type { PassSummary } from './report.ts';

/** A candidate on disk. */
export interface BuiltCandidate {
  /** The file as the runtime loads it. */
  readonly encoded: EncodedModel;
  /** Its files, the model first. */
  readonly files: readonly string[];
  /** Bytes of those files. */
  readonly bytes: number;
  /** What its passes did. */
  readonly passes: readonly PassSummary[];
  /** Whether the pass that the candidate is named after changed anything; always so without passes. */
  readonly changed: boolean;
}

/** What candidates are built with. */
export interface BuildOptions {
  /** Runs models for calibration. */
  readonly backend: Backend;
  /** Inputs for calibration. */
  readonly data: Dataset;
  /** What is compressed for. */
  readonly target: Target;
  /** Name of the final file: external data is written under it. */
  readonly fileName: string;
  /** Seed, cancellation, progress. */
  readonly run: RunOptions;
}

/** A folder for candidates that is removed in the end. */
export async function temporaryFolder(): Promise<{
  readonly path: string;
  readonly remove: () => Promise<void>;
}> {
  const path = await mkdtemp(join(tmpdir(), 'lithe-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** What each pass did, in short. */
export function passSummaries(report: OptimizeReport): PassSummary[] {
  return report.steps.map((step) => ({
    pass: step.pass,
    applied: step.applied.length,
    skipped: step.skipped,
  }));
}

/**
 * Runs a candidate's passes on a model and writes the result into a folder. Passes that need calibration read
 * `options.data`; results are checked later, in the target, not after each pass.
 */
export async function buildCandidate(
  model: Model,
  candidate: Candidate,
  folder: string,
  options: BuildOptions,
): Promise<BuiltCandidate> {
  const { backend, data, target, fileName, run } = options;
  const result = await optimize(model, candidate.steps, { ...run, backend, data, target, check: 'off' });
  const own = join(folder, candidate.name);
  await mkdir(own, { recursive: true });
  const path = join(own, fileName);
  const saved = await saveOnnx(result.model, path, { signal: run.signal });
  return {
    encoded: { kind: 'onnx', file: path },
    files: saved.files,
    bytes: saved.bytes,
    passes: passSummaries(result.report),
    changed: result.report.steps[0]?.changed !== false,
  };
}
