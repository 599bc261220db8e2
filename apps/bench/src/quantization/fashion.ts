import { type Executable, type Feeds, sliceRows, type Tensor, topKAccuracy } from '@lithe/core';
import { fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';
import type { Subject } from './subject.ts';

/** Rows of a batch when accuracy is measured. */
const BATCH = 500;

/** A network trained on Fashion-MNIST: calibrated on training images, measured on held-out ones. */
export async function fashionSubject(
  name: TrainedName,
  sizes: { readonly calibration: number; readonly images: number },
): Promise<Subject> {
  const train = await fashionMnist('train', sizes.calibration);
  const test = await fashionMnist('test', sizes.images);
  const row = (index: number): Feeds => ({ x: sliceRows(train.x, index, index + 1) });
  return {
    name,
    model: await loadTrainedModel(name),
    measure: `top-1 on ${sizes.images} images`,
    kind: 'convolutional',
    large: false,
    calibration: Array.from({ length: sizes.calibration }, (_, index) => row(index)),
    timed: row(0),
    evaluate: async (executable: Executable) => {
      const outputs: Feeds[] = [];
      let right = 0;
      for (let start = 0; start < sizes.images; start += BATCH) {
        const end = Math.min(sizes.images, start + BATCH);
        const result = await executable.run({ x: sliceRows(test.x, start, end) });
        const logits = result['logits'] as Tensor;
        right += topKAccuracy(logits, sliceRows(test.label, start, end)) * (end - start);
        outputs.push({ logits });
      }
      return { accuracy: right / sizes.images, outputs };
    },
  };
}
