import { mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  type Backend,
  createRunContext,
  type Dataset,
  errors,
  type Model,
  optimize,
  type RunContext,
  type RunOptions,
  type Target,
} from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import {
  type TransformersJsFile,
  type TransformersJsOptions,
  transformersJs,
  transformersJsSuffixes,
} from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { passSummaries, temporaryFolder } from '../compress/build.ts';
import { writeResult } from '../compress/output.ts';
import type { PassSummary } from '../compress/report.ts';
import type { ModelFile } from '../model-file.ts';
import { realPath } from '../output-path.ts';
import { modelTypeOf, noteExternalData, repositoryOf, writeQuantizeConfig } from './model-folder.ts';
import type { SetFile, SetReport, Verification } from './report.ts';
import { verifySet } from './verify-set.ts';

/** What {@link writeTransformersJsSet} is asked for. */
export interface TransformersJsSetOptions extends RunOptions {
  /** Folder of the files; `onnx` in a repository that transformers.js loads. */
  readonly output: string;
  /** Runtimes to verify in. The first one also runs the model to find ranges; it should be a CPU. */
  readonly targets: readonly Target[];
  /** Inputs to take ranges, drift and latency on. */
  readonly data: Dataset;
  /** Whether `data` is random because none was given. */
  readonly random: boolean;
  /** What to make; `modelType` is read from `config.json` when it is left out. */
  readonly preset?: TransformersJsOptions | undefined;
  /** Smallest signal to noise ratio of the outputs, in decibels; 8 by default: a cosine of 0.92. */
  readonly minSqnrDb?: number | undefined;
  /** Samples that drift is taken on; 32 by default. */
  readonly samples?: number | undefined;
  /** Rounds of the latency measurement; 11 by default. */
  readonly rounds?: number | undefined;
  /** Threads of the runtimes; 1 by default. */
  readonly threads?: number | undefined;
  /** Whether the graph is simplified first, as the recipe does; yes by default. */
  readonly simplify?: boolean | undefined;
  /** Bytes of a model file above which weights go to files beside it, and which those do not pass; 1.9e9 by default. */
  readonly fileBytes?: number | undefined;
  /** Told when a new phase begins. */
  readonly onPhase?: ((text: string) => void) | undefined;
}

/** A file as it was built, not yet in its place. */
interface Built {
  readonly file: TransformersJsFile;
  /** Path it will have. */
  readonly path: string;
  /** Where it lies now, the model first; `undefined` when it could not be built. */
  readonly files?: readonly string[];
  readonly bytes?: number;
  readonly passes: readonly PassSummary[];
  /** Why it could not be built, as a clause. */
  readonly failure?: string;
  /** Whether it is the model that was given. */
  readonly given?: boolean;
  /** Whether its passes found nothing to change: it would be the float model under another name. */
  readonly unchanged?: boolean;
}

interface Work {
  readonly file: ModelFile;
  readonly options: TransformersJsSetOptions;
  readonly context: RunContext;
  readonly temporary: string;
  /** Name of the files without suffix. */
  readonly base: string;
}

/** Drift that is refused without being asked: 4-bit weights of small models come to 10 dB and more. */
const MIN_SQNR_DB = 8;

/** Size of a file above which runtimes and browsers give up. */
const FILE_BYTES = 1.9e9;

function baseNameOf(path: string): string {
  const base = basename(path).replace(/\.onnx$/i, '');
  const suffix = Object.values(transformersJsSuffixes).find((one) => one !== '' && base.endsWith(one));
  if (suffix !== undefined) {
    throw errors.optionsInvalid(
      'the transformers.js set',
      [`"${basename(path)}" is named like a file of the set that is to be made ("${suffix}").`],
      'Give the float32 model.',
    );
  }
  return base;
}

async function build(
  work: Work,
  simplified: Model,
  file: TransformersJsFile,
  backend: Backend,
): Promise<Built> {
  const { options, context, temporary, base } = work;
  const name = `${base}${file.suffix}.onnx`;
  const path = join(resolve(options.output), name);
  if ((await realPath(path)) === (await realPath(work.file.path)))
    return { file, path, passes: [], given: true };
  options.onPhase?.(`making ${name}: ${file.summary}`);
  try {
    const run = { ...options, backend, data: options.data, check: 'off' as const };
    const result = await optimize(simplified, file.steps, run);
    const passes = passSummaries(result.report);
    if (file.steps.length > 0 && result.report.steps.every(({ changed }) => !changed))
      return { file, path, passes, unchanged: true };
    const fileBytes = options.fileBytes ?? FILE_BYTES;
    const saved = await saveOnnx(result.model, join(temporary, name), {
      signal: context.signal,
      externalDataAbove: fileBytes,
      externalFileBytes: fileBytes,
    });
    return { file, path, files: saved.files, bytes: saved.bytes, passes };
  } catch (error) {
    context.signal.throwIfAborted();
    const failure = `it could not be made: ${error instanceof Error ? error.message : String(error)}`;
    return { file, path, passes: [], failure };
  }
}

/** Why a file is not written, as a clause; `undefined` when it may be. */
function refusalOf(verifications: readonly Verification[], minSqnrDb: number): string | undefined {
  for (const one of verifications) {
    if (one.state === 'failed') return `${one.target} does not run it: ${one.reason}`;
    if (one.state === 'measured' && !(one.drift.sqnrDb >= minSqnrDb)) {
      return `in ${one.target} its outputs drift to ${one.drift.sqnrDb.toFixed(1)} dB, below ${minSqnrDb} dB`;
    }
  }
  return verifications.some(({ state }) => state === 'measured') ? undefined : 'no runtime could verify it';
}

async function place(work: Work, built: Built, verifications: readonly Verification[]): Promise<SetFile> {
  const { file, options } = work;
  const { dtype, summary } = built.file;
  const { path, passes } = built;
  const common = { dtype, summary, path, passes, verifications };
  if (built.given === true) {
    const size = { before: file.bytes, after: file.bytes, ratio: 1 };
    return { ...common, size, dataFiles: file.files.length - 1, state: 'kept' };
  }
  if (built.unchanged === true) {
    const reason =
      'nothing in the model can be stored that way: it would be the float model under another name';
    return { ...common, dataFiles: 0, state: 'skipped', reason };
  }
  if (built.files === undefined || built.bytes === undefined)
    return { ...common, dataFiles: 0, state: 'refused', reason: built.failure };
  const size = { before: file.bytes, after: built.bytes, ratio: file.bytes / built.bytes };
  const more = { ...common, size, dataFiles: built.files.length - 1 };
  const reason = refusalOf(verifications, options.minSqnrDb ?? MIN_SQNR_DB);
  if (reason !== undefined) return { ...more, state: 'refused', reason };
  await writeResult(built.files, path);
  return { ...more, state: 'written' };
}

async function writeConfiguration(
  work: Work,
  files: readonly SetFile[],
  settings: Parameters<typeof writeQuantizeConfig>[1],
  warnings: string[],
): Promise<string[]> {
  const repository = repositoryOf(work.options.output);
  const there = files.filter(({ state }) => state === 'written' || state === 'kept');
  const counts = Object.fromEntries(
    there.filter(({ dataFiles }) => dataFiles > 0).map((file) => [basename(file.path), file.dataFiles]),
  );
  const paths: string[] = [];
  const written = there.filter(({ state }) => state === 'written').map(({ dtype }) => dtype);
  if (written.length > 0) paths.push(await writeQuantizeConfig(repository, { ...settings, modes: written }));
  const names = there.map(({ path }) => basename(path));
  const config = await noteExternalData(repository, names, counts);
  if (config !== undefined) paths.push(config);
  else if (Object.keys(counts).length > 0) {
    warnings.push(
      `Some weights lie in files of their own. Tell transformers.js so in config.json: "transformers.js_config": { "use_external_data_format": ${JSON.stringify(counts)} }.`,
    );
  }
  return paths;
}

/**
 * Writes the dtype variants of a float32 model by the names that transformers.js loads, with `quantize_config.json`
 * above them. Each file is run beside the float model in every target first; a file that a runtime refuses, that no
 * runtime could verify, or that drifts over the limit, is not written, and neither is one that would not differ from the
 * float model. The input is never overwritten: where it is the
 * set's float32 file, it stays as it is.
 *
 * @throws {LitheError} OPTIONS_INVALID when the model is named like one of the variants, or there are no targets
 * @throws {LitheError} BACKEND_UNAVAILABLE when a target's runtime is missing; BACKEND_FAILED when it refuses the original
 */
export async function writeTransformersJsSet(
  file: ModelFile,
  options: TransformersJsSetOptions,
): Promise<SetReport> {
  const context = createRunContext(options);
  const base = baseNameOf(file.path);
  const { targets, threads = 1, data, random } = options;
  const first = targets[0];
  if (first === undefined)
    throw errors.optionsInvalid('the transformers.js set', ['No runtime to verify in was given.']);
  const modelType = options.preset?.modelType ?? (await modelTypeOf(file.path));
  const temporary = await temporaryFolder();
  try {
    const work: Work = { file, options, context, temporary: temporary.path, base };
    options.onPhase?.('simplifying');
    const steps = options.simplify === false ? [] : [simplify()];
    const { model } = await optimize(file.model, steps, { ...options, check: 'off' });
    const preset = transformersJs(model, { ...options.preset, modelType });
    const built: Built[] = [];
    const backend = await first.open(context, { threads });
    try {
      for (const item of preset.files) {
        context.signal.throwIfAborted();
        built.push(await build(work, model, item, backend));
      }
    } finally {
      await backend.dispose();
    }
    const subjects = built.flatMap(({ files, path }) =>
      files?.[0] === undefined
        ? []
        : [{ name: basename(path), encoded: { kind: 'onnx', file: files[0] } as const }],
    );
    const verdicts: { readonly target: Target; readonly verdict: Awaited<ReturnType<typeof verifySet>> }[] =
      [];
    for (const target of targets) {
      const { samples = 32, rounds = 11, onPhase } = options;
      const how = { original: file, threads, data, samples, rounds, onPhase };
      verdicts.push({ target, verdict: await verifySet(target, subjects, how, context) });
    }
    options.onPhase?.('writing');
    await mkdir(resolve(options.output), { recursive: true });
    const files: SetFile[] = [];
    let index = 0;
    for (const item of built) {
      const at = item.files === undefined ? -1 : index++;
      const own = at < 0 ? [] : verdicts.map(({ verdict }) => verdict.verifications[at] as Verification);
      context.signal.throwIfAborted();
      files.push(await place(work, item, own));
    }
    const warnings = random
      ? [
          `No data was given: drift and latency were taken on ${data.description}. Give real inputs with --calibrate.`,
        ]
      : [];
    return {
      model: file.path,
      output: options.output,
      modelType,
      data: { source: data.description, samples: verdicts[0]?.verdict.samples ?? 0, random },
      targets: verdicts.map(({ target, verdict }) => ({
        name: target.name,
        runtime: verdict.runtime,
        threads,
      })),
      minSqnrDb: options.minSqnrDb ?? MIN_SQNR_DB,
      files,
      configuration: await writeConfiguration(work, files, preset.settings, warnings),
      warnings,
    };
  } finally {
    await temporary.remove();
  }
}
