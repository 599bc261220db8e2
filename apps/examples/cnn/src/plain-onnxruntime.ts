import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type LabelledImages, PIXELS, tensorsOf } from './images.ts';

/** Accuracy of a saved ONNX file in onnxruntime-node alone: nothing of ours but the reading of pixels. */
export async function plainAccuracy(file: string, images: LabelledImages): Promise<number> {
  const session = await InferenceSession.create(file);
  const { x } = tensorsOf(images);
  let right = 0;
  for (let start = 0; start < images.labels.length; start += 500) {
    const end = Math.min(start + 500, images.labels.length);
    const feeds = {
      x: new Tensor('float32', x.data.slice(start * PIXELS, end * PIXELS), [end - start, 1, 28, 28]),
    };
    const { logits } = await session.run(feeds);
    const scores = logits?.data as Float32Array;
    for (let image = start; image < end; image++) {
      const row = scores.subarray((image - start) * 10, (image - start + 1) * 10);
      if (row.indexOf(Math.max(...row)) === images.labels[image]) right++;
    }
  }
  await session.release();
  return right / images.labels.length;
}
