import { type Feeds, inferShapes, type Model, modelCost } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';

/** Multiplications and parameters of a model; symbols are 1 for a batch and 64 otherwise. */
export async function costOf(model: Model): Promise<{ readonly macs: number; readonly parameters: number }> {
  const copy = model.clone();
  await inferShapes(copy, { strict: false });
  const dims = Object.fromEntries(
    copy.graph.inputs.flatMap(({ shape }) =>
      (shape ?? []).flatMap((dim, axis) =>
        typeof dim === 'string' ? [[dim, axis === 0 ? 1 : 64] as const] : [],
      ),
    ),
  );
  return modelCost(copy, { dims });
}

/** Loads what was written in plain onnxruntime and runs it once. */
export async function runsAlone(model: Model, feeds: Feeds): Promise<void> {
  const session = await InferenceSession.create(await writeOnnx(model));
  const inputs = Object.entries(feeds).filter(([name]) => session.inputNames.includes(name));
  const results = await session.run(
    Object.fromEntries(
      inputs.map(([name, { dtype, data, shape }]) => [
        name,
        new RuntimeTensor(dtype as 'float32', data as Float32Array, [...shape]),
      ]),
    ),
  );
  for (const [name, { data }] of Object.entries(results))
    if (data instanceof Float32Array && !data.every(Number.isFinite))
      throw new Error(`"${name}" is not finite.`);
  await session.release();
}
