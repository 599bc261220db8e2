import { arrayDataset, type Backend, concatRows, type Dataset, type Feeds, type Model } from '@lithe/core';
import { accuracyOn, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';
import { detectorSubject } from '../quantization/detector.ts';
import { encoderSubject } from '../quantization/encoder.ts';
import { recognizerSubject } from '../quantization/recognizer.ts';
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

/** ResNet-20, with batch normalization. */
export const resNet = (sizes: SubjectSizes): Promise<PrunedSubject> => fashion('fashion-resnet', sizes);

/** A plain convolutional network. */
export const cnn = (sizes: SubjectSizes): Promise<PrunedSubject> => fashion('fashion-cnn', sizes);

/** The PP-OCRv4 detector: text pixels that it shares with the original. */
export async function detector({ calibration, held, cache }: SubjectSizes): Promise<PrunedSubject> {
  return fromSubject(await detectorSubject({ calibration, lines: held, cache }));
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
