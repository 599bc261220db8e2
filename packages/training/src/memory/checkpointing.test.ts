import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { optimizedGraph } from '@lithe/backend-onnxruntime/node';
import {
  type Backend,
  createRng,
  type Feeds,
  GraphBuilder,
  type Model,
  optimize,
  standardOps,
  Tensor,
  type Value,
  verify,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { readOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/data.ts';
import { layers } from '../layers/layers.ts';
import { mlp, transformerEncoder } from '../layers/networks.ts';
import { crossEntropy } from '../losses/classification.ts';
import { adamW, sgd } from '../optimizers/standard.ts';
import { type TrainingStep, type TrainingStepOptions, trainingStep } from '../step/training-step.ts';
import { activationCheckpointing } from './activation-checkpointing.ts';
import { checkpointActivations } from './checkpoint-activations.ts';

const options: TrainingStepOptions = {
  loss: crossEntropy({ logits: 'logits' }),
  optimizer: adamW(),
  clipNorm: 1,
};

/** Six blocks of convolution, normalization and dropout with shortcuts, on images of 8x8. */
async function deepModel(): Promise<Model> {
  const builder = new GraphBuilder('deep');
  const net = layers(builder, 1);
  let x = net.conv2d(builder.input('x', 'float32', ['N', 1, 8, 8]), 4, { padding: 1 });
  for (let block = 0; block < 6; block++) {
    const y = net.dropout(net.relu(net.batchNorm2d(net.conv2d(x, 4, { padding: 1 }))), 0.25);
    x = net.relu(net.add(x, net.conv2d(y, 4, { padding: 1 })));
  }
  builder.output('logits', net.linear(net.globalAveragePool(x), 4));
  return await builder.build();
}

function feedsOf(step: TrainingStep, batch: number): Feeds {
  const rng = createRng(3);
  const graph = step.model.graph;
  const own = new Set(step.state.map(({ input }) => input));
  return Object.fromEntries(
    graph.inputs.flatMap((input): [string, Tensor][] => {
      if (own.has(input.name)) return [];
      if (input.name === step.learningRate)
        return [[input.name, Tensor.from('float32', [], Float32Array.of(0.01))]];
      const shape = (input.shape ?? []).map((dim) => (typeof dim === 'number' ? dim : batch));
      const size = shape.reduce((left, right) => left * right, 1);
      return [
        [
          input.name,
          input.dtype === 'int64'
            ? Tensor.from(
                'int64',
                shape,
                BigInt64Array.from({ length: size }, () => BigInt(rng.integer(4))),
              )
            : Tensor.from(
                'float32',
                shape,
                Float32Array.from({ length: size }, () => rng.normal()),
              ),
        ],
      ];
    }),
  );
}

/** Losses and state of two steps, as bytes. */
async function train(
  backend: Backend,
  step: TrainingStep,
): Promise<Readonly<Record<string, readonly number[]>>> {
  await using executable = await backend.compile(step.model, { state: step.state });
  const feeds = feedsOf(step, 3);
  const first = await executable.run(feeds, { outputs: [step.loss] });
  const second = await executable.run(feeds, { outputs: [step.loss] });
  const state = await executable.readState();
  return Object.fromEntries(
    [
      ...Object.entries(state),
      ['first', first[step.loss]] as const,
      ['second', second[step.loss]] as const,
    ].map(([name, tensor]) => [name, [...(tensor?.bytes ?? [])]]),
  );
}

/** The most bytes that are alive at one time when nodes run in their order, graph inputs and constants left out. */
function peakBytes(model: Model, batch: number): number {
  const nodes = [...model.graph.nodes()];
  const bytes = (value: Value): number =>
    (value.shape ?? []).reduce<number>((size, dim) => size * (typeof dim === 'number' ? dim : batch), 4);
  const last = new Map<Value, number>();
  nodes.forEach((node, index) => {
    for (const input of node.inputs) if (input !== null) last.set(input, index);
  });
  let [alive, peak] = [0, 0];
  nodes.forEach((node, index) => {
    for (const output of node.outputs) alive += bytes(output);
    peak = Math.max(peak, alive);
    for (const value of new Set([...node.inputs, ...node.outputs])) {
      const done = value !== null && value.producer !== null && !value.isGraphOutput;
      if (done && (last.get(value) ?? index) === index) alive -= bytes(value);
    }
  });
  return peak;
}

describe('activation checkpointing', () => {
  it('changes no bit of losses, weights, slots and statistics', async () => {
    await using runtime = await onnxruntimeNode({ threads: 1 });
    for (const model of [await deepModel(), await tinyModel()]) {
      const plain = await trainingStep(model, options);
      const saving = await trainingStep(model, { ...options, checkpointing: { segments: 4 } });
      expect(verify(saving.model, { opset: standardOps })).toEqual([]);
      expect(saving.checkpointing?.repeatedNodes ?? 0).toBeGreaterThan(0);
      for (const backend of [referenceBackend(), runtime])
        expect(await train(backend, saving)).toEqual(await train(backend, plain));
    }
  });

  it('changes no bit of a transformer where the runtime fuses both forms alike', async () => {
    // onnxruntime fuses a product with its bias, and that with Gelu, only where nothing else reads what lies between:
    // rounding then depends on what the backward part reads.
    await using backend = await onnxruntimeNode({
      threads: 1,
      config: { 'optimization.disable_specified_optimizers': 'MatMulAddFusion;BiasGeluFusion' },
    });
    const model = await transformerEncoder({ vocabulary: 4, length: 6, width: 16, depth: 3, dropout: 0.1 });
    const saving = await trainingStep(model, { ...options, checkpointing: true });
    expect(saving.checkpointing?.repeatedNodes ?? 0).toBeGreaterThan(0);
    expect(await train(backend, saving)).toEqual(await train(backend, await trainingStep(model, options)));
  });

  it('holds a fraction of the activations', async () => {
    const model = await mlp({ inputs: 32, hidden: new Array<number>(24).fill(32), classes: 4 });
    const plain = await trainingStep(model, { ...options, optimizer: sgd() });
    const saving = await trainingStep(model, { ...options, optimizer: sgd(), checkpointing: true });
    // With a batch this large, weights and their gradients hardly count.
    expect(peakBytes(saving.model, 1e6)).toBeLessThan(0.5 * peakBytes(plain.model, 1e6));
    expect(saving.checkpointing?.bytesAfter).toBeLessThan(0.5 * (saving.checkpointing?.bytesBefore ?? 0));
  });

  it('survives the optimizer of onnxruntime, which merges equal nodes', async () => {
    const model = await deepModel();
    const count = (graph: Model): number =>
      [...graph.graph.nodes()].filter(({ opType }) => /^(Fused)?Conv$/.test(opType)).length;
    const plain = await trainingStep(model, options);
    const saving = await trainingStep(model, { ...options, checkpointing: { segments: 3 } });
    expect(count(saving.model)).toBeGreaterThan(count(plain.model));
    for (const level of ['extended', 'all'] as const)
      expect(count(await readOnnx(await optimizedGraph(saving.model, { level })))).toBe(count(saving.model));
  });

  it('cuts behind the values that are named', async () => {
    const builder = new GraphBuilder('named');
    const net = layers(builder, 1);
    let x = builder.input('x', 'float32', ['N', 16]);
    const names: string[] = [];
    for (let layer = 0; layer < 6; layer++) {
      x = net.relu(net.linear(net.relu(net.linear(x, 16)), 16));
      if (layer % 2 === 1) names.push(x.name);
    }
    builder.output('logits', net.linear(x, 4));
    const model = await builder.build();
    const step = await trainingStep(model, { ...options, checkpointing: { boundaries: names.slice(0, 2) } });
    expect(step.checkpointing?.segments).toBe(3);
    const again = [...step.model.graph.values()]
      .map(({ name }) => name)
      .filter((name) => name.startsWith('again/'));
    expect(again.length).toBeGreaterThan(0);
    expect(again).not.toContain(`again/${names[0]}`);
    // Nothing is computed again that nobody reads.
    const idle = [...step.model.graph.nodes()].filter(
      ({ outputs }) =>
        outputs[0]?.name.startsWith('again/') === true && outputs.every(({ uses }) => uses.length === 0),
    );
    expect(idle.map(({ name }) => name)).toEqual([]);
    for (const checkpointing of [{ boundaries: ['nothing'] }, { boundaries: ['x'] }, { segments: 0 }]) {
      await expect(trainingStep(model, { ...options, checkpointing })).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
      });
    }
    expect(() => checkpointActivations(model.graph, 'no loss')).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });

  it('draws no random number twice', async () => {
    const builder = new GraphBuilder('noisy');
    const net = layers(builder, 1);
    let x = builder.input('x', 'float32', ['N', 8]);
    for (let layer = 0; layer < 8; layer++) {
      x = net.relu(net.linear(x, 8));
      x = net.add(x, builder.op.RandomNormal([], { shape: [1, 8], seed: layer }));
    }
    builder.output('logits', net.linear(x, 4));
    const step = await trainingStep(await builder.build(), { ...options, checkpointing: { segments: 4 } });
    expect(step.checkpointing?.repeatedNodes ?? 0).toBeGreaterThan(0);
    const drawn = [...step.model.graph.nodes()].filter(({ opType }) => opType === 'RandomNormal');
    expect(drawn.length).toBe(8);
  });

  it('is a pass, which says what it saves, and what it leaves alone', async () => {
    const model = await mlp({ inputs: 32, hidden: new Array<number>(12).fill(32), classes: 4 });
    const step = await trainingStep(model, options);
    const { model: saving, report } = await optimize(step.model, [activationCheckpointing({ segments: 3 })]);
    expect(report.steps[0]).toMatchObject({
      changed: true,
      applied: [expect.stringContaining('3 segments')],
    });
    expect(await train(referenceBackend(), { ...step, model: saving })).toEqual(
      await train(referenceBackend(), step),
    );
    const { report: nothing } = await optimize(step.model, [activationCheckpointing({ segments: 1 })]);
    expect(nothing.steps[0]).toMatchObject({ changed: false, skipped: [{ code: 'nothing-to-gain' }] });
  });
});
