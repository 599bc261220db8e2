import { type Backend, createDrift, type Executable, type Feeds, measureLatency } from '@lithe/core';
import { browserLatency, type PageLatency } from './browser-latency.ts';
import type { MadeFile } from './peers.ts';
import type { Evaluation, Subject } from './subject.ts';

/** One file beside the float one. */
export interface Row {
  readonly model: string;
  readonly file: string;
  readonly kilobytes?: number | undefined;
  /** Percent. */
  readonly accuracy?: number | undefined;
  /** Signal to noise of the outputs against those of the float model. */
  readonly sqnrDb?: number | undefined;
  /** Times as fast as float in onnxruntime-node, one thread. */
  readonly node?: number | undefined;
  /** Times as fast as float in onnxruntime-web's WASM in Chromium, one thread. */
  readonly wasm?: number | undefined;
  /** Milliseconds in each. */
  readonly nodeMs?: number | undefined;
  readonly wasmMs?: number | undefined;
  /** Time it took to make. */
  readonly seconds: number;
  /** Why there is no file, or why it does not run. */
  readonly failure?: string | undefined;
}

/** How files are compared. */
export interface CompareSettings {
  readonly backend: Backend;
  readonly folder: string;
  /** Rounds of latency; 0 measures none. */
  readonly rounds: number;
  /** Whether latency is measured in a browser too. */
  readonly browser: boolean;
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

function sqnrOf(expected: readonly Feeds[], actual: readonly Feeds[]): number {
  const drift = createDrift();
  for (const [index, outputs] of expected.entries()) drift.add(outputs, actual[index] ?? {});
  return drift.result().sqnrDb;
}

interface Compiled {
  readonly made: MadeFile;
  readonly executable: Executable;
  readonly evaluation: Evaluation;
}

async function nodeTimes(
  compiled: readonly Compiled[],
  subject: Subject,
  rounds: number,
): Promise<readonly number[]> {
  const entries = compiled.map(({ made, executable }) => ({ name: made.name, executable }));
  const report = await measureLatency(entries, subject.timed, { rounds, minMilliseconds: 20 });
  return report.entries.map(({ medianMs }) => medianMs);
}

/** Runs the files on held-out samples and times them; the first one is the float model. */
export async function compareFiles(
  subject: Subject,
  files: readonly MadeFile[],
  settings: CompareSettings,
): Promise<readonly Row[]> {
  const { backend, rounds } = settings;
  const compiled: Compiled[] = [];
  const failures: Row[] = [];
  const failed = (made: MadeFile, failure: string): void => {
    failures.push({ model: subject.name, file: made.name, seconds: rounded(made.seconds, 1), failure });
  };
  try {
    for (const made of files) {
      if (typeof made.file === 'string') {
        failed(made, made.file);
        continue;
      }
      let executable: Executable | undefined;
      try {
        executable = await backend.compile({ kind: 'onnx', file: made.file });
        compiled.push({ made, executable, evaluation: await subject.evaluate(executable) });
      } catch (error) {
        await executable?.dispose();
        failed(made, String(error));
      }
    }
    const node = rounds > 0 ? await nodeTimes(compiled, subject, rounds) : [];
    const bytes = compiled.map(({ made }) => made.file as Uint8Array);
    const wasm: readonly PageLatency[] =
      rounds > 0 && settings.browser
        ? await browserLatency(bytes, subject.timed, { rounds, folder: settings.folder })
        : [];
    const float = compiled[0]?.evaluation.outputs ?? [];
    const rows = compiled.map(({ made, evaluation }, index): Row => {
      const page = wasm[index];
      return {
        model: subject.name,
        file: made.name,
        kilobytes: rounded((made.file as Uint8Array).length / 1000, 0),
        accuracy: rounded(100 * evaluation.accuracy, 2),
        sqnrDb: index === 0 ? undefined : rounded(sqnrOf(float, evaluation.outputs), 1),
        ...(node.length === 0
          ? {}
          : { node: rounded(node[0]! / node[index]!, 2), nodeMs: rounded(node[index]!, 3) }),
        ...(typeof page === 'number'
          ? { wasm: rounded((wasm[0] as number) / page, 2), wasmMs: rounded(page, 3) }
          : {}),
        seconds: rounded(made.seconds, 1),
        ...(typeof page === 'string' ? { failure: `in the browser: ${page}` } : {}),
      };
    });
    return [...rows, ...failures];
  } finally {
    for (const { executable } of compiled) await executable.dispose();
  }
}
