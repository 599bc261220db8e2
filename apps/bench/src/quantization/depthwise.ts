import { nodeCpuTarget, onnxruntimeNode, wasmTarget } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  createRng,
  createRunContext,
  type Executable,
  GraphBuilder,
  type Model,
  optimize,
  Tensor,
} from '@lithe/core';
import { staticInt8 } from '@lithe/quantization';

function normal(shape: readonly number[], seed: number, deviation: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const size = shape.reduce((all, dim) => all * dim, 1);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, () => rng.normal() * deviation),
  );
}

/** Five pointwise convolutions with depthwise ones between them, a rectifier behind each. */
function stack(size: number, channels: number): Promise<Model> {
  const b = new GraphBuilder('stack');
  let x = b.input('x', 'float32', [1, channels, size, size]);
  const constant = (name: string, shape: readonly number[], deviation: number) =>
    b.constant(name, normal(shape, name.length + shape.length, deviation));
  const pointwise = (name: string) =>
    b.op.Conv([
      x,
      constant(`${name}.w`, [channels, channels, 1, 1], Math.sqrt(2 / channels)),
      constant(`${name}.b`, [channels], 1),
    ]);
  for (let layer = 0; layer < 4; layer++) {
    x = b.op.Relu([pointwise(`pointwise${layer}`)]);
    const weight = constant(`depthwise${layer}.w`, [channels, 1, 3, 3], 0.5);
    const bias = constant(`depthwise${layer}.b`, [channels], 1);
    x = b.op.Relu([b.op.Conv([x, weight, bias], { pads: [1, 1, 1, 1], group: channels })]);
  }
  b.output('y', pointwise('last'));
  return b.build();
}

/**
 * What depthwise convolutions cost in integers, and what converting around them costs: the figures behind
 * `integerCosts` of the targets. Prints the lower quartile of interleaved runs in milliseconds.
 *
 * `node tools/ts.mjs apps/bench/src/quantization/depthwise.ts [wasm]`
 */
export async function main(args: readonly string[]): Promise<number> {
  const target = args[0] === 'wasm' ? wasmTarget() : nodeCpuTarget();
  const backend = await onnxruntimeNode();
  const where = await target.open(createRunContext());
  for (const [size, channels] of [
    [28, 64],
    [14, 128],
    [56, 32],
  ] as const) {
    const model = await stack(size, channels);
    const x = normal([1, channels, size, size], 3, 1);
    const data = arrayDataset({ inputs: { x } });
    const made = async (depthwise: boolean): Promise<Model> =>
      (await optimize(model, [staticInt8({ depthwise, conversionCost: 0 })], { backend, data })).model;
    const variants = { float: model, integer: await made(true), between: await made(false) };
    const runs: Record<string, { readonly executable: Executable; readonly times: number[] }> = {};
    for (const [name, variant] of Object.entries(variants))
      runs[name] = { executable: await where.compile(variant), times: [] };
    for (let round = 0; round < 12; round++)
      for (const { executable, times } of Object.values(runs))
        times.push(...(await executable.time({ x }, { runs: 8, warmup: 2 })));
    const figures = Object.entries(runs).map(([name, { times }]) => {
      const sorted = times.sort((left, right) => left - right);
      return `${name} ${(sorted[sorted.length >> 2] ?? 0).toFixed(3)}`;
    });
    process.stdout.write(`${target.name} ${size}x${size}x${channels}: ${figures.join('  ')}\n`);
  }
  await where.dispose();
  await backend.dispose();
  return 0;
}
