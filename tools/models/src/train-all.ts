import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { saveOnnx } from '@lithe/onnx/node';
import { adamW, crossEntropy, fit, flip, oneCycleSchedule, sampleTable } from '@lithe/training';
import { fileCheckpoints } from '@lithe/training/node';
import { loadImages, tensorsOf } from '@lithe-internal/example-cnn/images';
import { accuracyOf } from '@lithe-internal/example-cnn/train';
import { networks, type TrainedName } from './networks.ts';

/** Epochs that each network is trained for. */
const epochsOf: Readonly<Record<TrainedName, number>> = {
  'fashion-cnn': 8,
  'fashion-mobilenet-v2': 10,
  'fashion-resnet': 6,
};

/** Trains the networks again: `node tools/ts.mjs tools/models/src/train-all.ts [NAME …] [--threads 2] [--out FOLDER]`. */
export async function main(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      threads: { type: 'string', default: '2' },
      out: { type: 'string', default: path.join(import.meta.dirname, '../trained') },
    },
  });
  const all = Object.keys(networks) as TrainedName[];
  const names = all.filter((name) => positionals.length === 0 || positionals.includes(name));
  const images = await loadImages('fashion');
  await using backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const { x, label } = tensorsOf(images.train);
  const held = tensorsOf(images.test);
  for (const name of names) {
    const epochs = epochsOf[name];
    const { model } = await fit(await networks[name](0), sampleTable({ inputs: { x }, targets: { label } }), {
      backend,
      loss: crossEntropy({ logits: 'logits' }),
      optimizer: adamW(),
      learningRate: name === 'fashion-cnn' ? 0.002 : 0.005,
      schedule: oneCycleSchedule(),
      augment: [flip()],
      epochs,
      batchSize: 128,
      seed: 0,
      keepBest: false,
      checkpoint: fileCheckpoints(path.join(values.out, `${name}.checkpoint.safetensors`)),
      checkpointEvery: 100,
      evaluate: (trained) => accuracyOf(trained, backend, held),
      onStep: ({ step, steps, loss }) => {
        if (step % 50 === 0)
          process.stderr.write(`${name}: step ${step} of ${steps}, loss ${loss.toFixed(3)}\n`);
      },
      onEpoch: ({ epoch, loss, metric = 0, milliseconds }) => {
        process.stderr.write(
          `${name}: epoch ${epoch}, loss ${loss.toFixed(4)}, accuracy ${(metric * 100).toFixed(2)} %, ${(milliseconds / 1000).toFixed(0)} s\n`,
        );
      },
    });
    await saveOnnx(model, path.join(values.out, `${name}.onnx`));
  }
  return 0;
}
