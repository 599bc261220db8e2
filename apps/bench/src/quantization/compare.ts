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
  readonly made: MadeFile & { readonly file: Uint8Array };
  readonly executable: Executable;
  readonly row: Row;
}

/** Takes in files one by one, the float model first. */
export interface FileComparison extends AsyncDisposable {
  /** Runs a file on the held-out samples. */
  add(made: MadeFile): Promise<void>;
  /** Times all files, and gives what was found. */
  finish(): Promise<readonly Row[]>;
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

function withLatency(
  row: Row,
  times: {
    readonly node: readonly [number, number];
    readonly page: readonly [PageLatency, PageLatency] | undefined;
  },
): Row {
  const [float, own] = times.node;
  const found = { ...row, node: rounded(float / own, 2), nodeMs: rounded(own, 3) };
  if (times.page === undefined) return found;
  const [pageFloat, page] = times.page;
  if (typeof page === 'string') return { ...found, failure: `in the browser: ${page}` };
  return {
    ...found,
    wasmMs: rounded(page, 3),
    ...(typeof pageFloat === 'string' ? {} : { wasm: rounded(pageFloat / page, 2) }),
  };
}

/** Compares files that are made of one model. */
export function fileComparison(subject: Subject, settings: CompareSettings): FileComparison {
  const { backend, rounds } = settings;
  const compiled: Compiled[] = [];
  const failures: Row[] = [];
  let float: Evaluation | undefined;
  const note = (row: Row, list: Row[] = []): void => {
    list.push(row);
    process.stderr.write(`${JSON.stringify(row)}\n`);
  };
  return {
    add: async (made) => {
      const about = { model: subject.name, file: made.name, seconds: rounded(made.seconds, 1) };
      const { file } = made;
      if (typeof file === 'string') return note({ ...about, failure: file }, failures);
      let executable: Executable | undefined;
      try {
        executable = await backend.compile({ kind: 'onnx', file });
        const evaluation = await subject.evaluate(executable);
        const row: Row = {
          ...about,
          kilobytes: rounded(file.length / 1000, 0),
          accuracy: rounded(100 * evaluation.accuracy, 2),
          ...(float === undefined ? {} : { sqnrDb: rounded(sqnrOf(float.outputs, evaluation.outputs), 1) }),
        };
        float ??= evaluation;
        compiled.push({ made: { ...made, file }, executable, row });
        note(row);
      } catch (error) {
        await executable?.dispose();
        note({ ...about, failure: String(error) }, failures);
      }
    },
    finish: async () => {
      if (rounds === 0 || compiled.length === 0) return [...compiled.map(({ row }) => row), ...failures];
      const node = await nodeTimes(compiled, subject, rounds);
      const files = compiled.map(({ made }) => made.file);
      const pages = settings.browser
        ? await browserLatency(files, subject.timed, { rounds, folder: settings.folder })
        : undefined;
      const rows = compiled.map(({ row }, index) =>
        withLatency(row, {
          node: [node[0]!, node[index]!],
          page: pages === undefined ? undefined : [pages[0]!, pages[index]!],
        }),
      );
      return [...rows, ...failures];
    },
    [Symbol.asyncDispose]: async () => {
      for (const { executable } of compiled) await executable.dispose();
    },
  };
}
