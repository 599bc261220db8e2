import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { optimize } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { simplify } from '@lithe/simplify';
import { howToGetMiniLm } from '../encoder/minilm.ts';
import { fileComparison, type Row } from './compare.ts';
import { detectorSubject } from './detector.ts';
import { encoderSubject } from './encoder.ts';
import { fashionSubject } from './fashion.ts';
import { ourFiles } from './ours.ts';
import { peerFiles } from './peers.ts';
import { recognizerSubject } from './recognizer.ts';
import type { Subject } from './subject.ts';

interface Sizes {
  readonly calibration: number;
  readonly images: number;
  readonly lines: number;
  readonly mails: number;
  readonly cache: string;
  readonly minilm: string | undefined;
}

/** The subjects by name, made when their turn comes. */
function subjectsOf(sizes: Sizes): Readonly<Record<string, () => Promise<Subject>>> {
  const { minilm } = sizes;
  return {
    'fashion-cnn': () => fashionSubject('fashion-cnn', sizes),
    'fashion-mobilenet-v2': () => fashionSubject('fashion-mobilenet-v2', sizes),
    'fashion-resnet': () => fashionSubject('fashion-resnet', sizes),
    recognizer: () => recognizerSubject(sizes),
    detector: () => detectorSubject(sizes),
    ...(minilm === undefined
      ? {}
      : { minilm: () => encoderSubject({ ...sizes, folder: minilm, tokens: 64 }) }),
  };
}

function table(rows: readonly Row[]): string {
  const cell = (value: number | string | undefined): string => (value === undefined ? '–' : String(value));
  const lines = rows.map((row) => {
    const { model, file, kilobytes, accuracy, sqnrDb, node, wasm, failure } = row;
    const cells = [model, file, kilobytes, accuracy, sqnrDb, node, wasm].map(cell);
    return `| ${[...cells, failure?.replaceAll('|', '/').slice(0, 100) ?? ''].join(' | ')} |`;
  });
  return [
    '| model | file | kB | accuracy % | SQNR dB | node × | WASM × | |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...lines,
    '',
  ].join('\n');
}

/**
 * Quantizes trained models by every technique of Lithe and by the tools of others, with the same calibration samples, and
 * measures accuracy and signal to noise on held-out data, size, and latency in onnxruntime-node and in WASM in Chromium.
 *
 * `--python FILE` has onnxruntime, onnx and sympy (and onnxsim), `--compressor FILE` neural-compressor 2.6 with its own
 * onnxruntime; without them only Lithe's files are made. `--minilm FOLDER` adds a transformer. `--model WORD`, `--only
 * WORD` limit models and files; `--samples 100` for calibration; `--images 10000`, `--lines 96`, `--mails 300` held out;
 * `--rounds 15` of latency (0: none); `--no-browser`; `--threads 1`; `--cache FOLDER` for drawn lines; `--json FILE`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      python: { type: 'string' },
      compressor: { type: 'string' },
      minilm: { type: 'string' },
      model: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      samples: { type: 'string', default: '100' },
      images: { type: 'string', default: '10000' },
      lines: { type: 'string', default: '96' },
      mails: { type: 'string', default: '300' },
      rounds: { type: 'string', default: '15' },
      browser: { type: 'boolean', default: true },
      threads: { type: 'string', default: '1' },
      cache: { type: 'string', default: path.join(tmpdir(), 'lithe-bench-cache') },
      json: { type: 'string' },
    },
  });
  if (values.minilm === undefined) process.stderr.write(`Without the transformer. ${howToGetMiniLm}\n`);
  const { python, compressor } = values;
  const pythons = {
    ...(python === undefined ? {} : { onnxruntime: python, onnxsim: python }),
    ...(compressor === undefined ? {} : { 'neural-compressor': compressor }),
  };
  const backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const rows: Row[] = [];
  const measures: Record<string, string> = {};
  const versions: Record<string, string> = { 'onnxruntime-node': backend.version };
  const subjects = subjectsOf({
    calibration: Number(values.samples),
    images: Number(values.images),
    lines: Number(values.lines),
    mails: Number(values.mails),
    cache: values.cache,
    minilm: values.minilm,
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bench-'));
  try {
    for (const [name, make] of Object.entries(subjects)) {
      if (!name.includes(values.model)) continue;
      const subject = await make();
      measures[subject.name] = subject.measure;
      const { model: float } = await optimize(subject.model, [simplify()], { check: 'off' });
      const own = path.join(folder, name);
      await using comparison = fileComparison(subject, {
        backend,
        folder: own,
        rounds: Number(values.rounds),
        browser: values.browser,
      });
      await comparison.add({ name: 'float', file: await writeOnnx(float), seconds: 0 });
      const { only } = values;
      for await (const made of ourFiles(subject, float, { backend, only })) await comparison.add(made);
      const peers = peerFiles(subject, { pythons, folder: own, only, seconds: 900, versions });
      for await (const made of peers) await comparison.add(made);
      const found = await comparison.finish();
      rows.push(...found);
      process.stderr.write(`\n${table(found)}\n`);
    }
  } finally {
    await backend.dispose();
    await rm(folder, { recursive: true, force: true });
  }
  const device = { cpu: cpus()[0]?.model, node: process.version, versions };
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify({ device, measures, rows }, null, 2)}\n`);
  process.stdout.write(`${table(rows)}\n`);
  for (const [model, measure] of Object.entries(measures)) process.stdout.write(`${model}: ${measure}\n`);
  return 0;
}
