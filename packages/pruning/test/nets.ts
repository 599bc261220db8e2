import { type Dim, GraphBuilder, type Model, type Rng, Tensor, type Value } from '@lithe/core';
import { normal } from './support.ts';

const ints = (...values: readonly number[]): Tensor<'int64'> =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

interface Feature {
  readonly value: Value;
  readonly channels: number;
}

/** Parts of image networks with everything that moves channels around, put together at random. */
class RandomNet {
  readonly #b: GraphBuilder;
  readonly #rng: Rng;
  #seed = 0;

  constructor(builder: GraphBuilder, rng: Rng) {
    this.#b = builder;
    this.#rng = rng;
  }

  weight(...shape: readonly number[]): Tensor<'float32'> {
    const fan = shape.slice(1).reduce((left, right) => left * right, 1);
    return normal(shape, this.#rng.integer(1e9) + this.#seed++, Math.sqrt(2 / Math.max(1, fan)));
  }

  conv({ value, channels }: Feature, filters: number, kernel = 3, group = 1): Feature {
    const pad = (kernel - 1) / 2;
    const inputs = [value, this.weight(filters, channels / group, kernel, kernel), this.weight(filters)];
    const y = this.#b.op.Conv(inputs, { pads: [pad, pad, pad, pad], group });
    return { value: y, channels: filters };
  }

  batchNorm({ value, channels }: Feature): Feature {
    const positive = Tensor.from(
      'float32',
      [channels],
      Float32Array.from({ length: channels }, () => 0.5 + this.#rng.next()),
    );
    const y = this.#b.op.BatchNormalization([
      value,
      this.weight(channels),
      this.weight(channels),
      this.weight(channels),
      positive,
    ]);
    return { value: y, channels };
  }

  activate(x: Feature): Feature {
    const { op } = this.#b;
    const kinds = [
      () => op.Relu([x.value]),
      () => op.HardSwish([x.value]),
      () => op.Sigmoid([x.value]),
      () => op.LeakyRelu([x.value]),
      () => op.PRelu([x.value, this.weight(x.channels, 1, 1)]),
      () =>
        op.Clip([
          x.value,
          Tensor.from('float32', [], Float32Array.of(0)),
          Tensor.from('float32', [], Float32Array.of(6)),
        ]),
    ];
    return { ...x, value: (kinds[this.#rng.integer(kinds.length)] as () => Value)() };
  }

  residual(x: Feature): Feature {
    const y = this.conv(this.activate(this.conv(x, 4 + this.#rng.integer(5))), x.channels, 1);
    return { value: this.#b.op.Add([x.value, y.value]), channels: x.channels };
  }

  squeezeExcite(x: Feature): Feature {
    const { op } = this.#b;
    const pooled: Feature = { value: op.GlobalAveragePool([x.value]), channels: x.channels };
    const gate = this.conv(this.activate(this.conv(pooled, 4, 1)), x.channels, 1);
    return { value: op.Mul([x.value, op.Sigmoid([gate.value])]), channels: x.channels };
  }

  depthwise(x: Feature): Feature {
    const multiplier = 1 + this.#rng.integer(2);
    return this.conv(x, x.channels * multiplier, 3, x.channels);
  }

  grouped(x: Feature): Feature {
    const wide = this.conv(x, 8, 1);
    return this.conv(wide, this.#rng.integer(2) === 0 ? 8 : 12, 3, 4);
  }

  branches(x: Feature): Feature {
    const parts = [this.conv(x, 3), this.activate(this.conv(x, 5, 1)), x];
    return {
      value: this.#b.op.Concat(
        parts.map((part) => part.value),
        { axis: 1 },
      ),
      channels: parts.reduce((sum, part) => sum + part.channels, 0),
    };
  }

  splitAndJoin(x: Feature): Feature {
    const wide = this.conv(x, 9, 1);
    const [left, right] = this.#b.op.Split([wide.value, ints(3, 6)], { axis: 1 }, { outputs: 2 });
    const a = this.conv({ value: left as Value, channels: 3 }, 4);
    const b = this.activate({ value: right as Value, channels: 6 });
    return { value: this.#b.op.Concat([b.value, a.value], { axis: 1 }), channels: 10 };
  }

  slice(x: Feature): Feature {
    const wide = this.conv(x, 10, 1);
    const value = this.#b.op.Slice([wide.value, ints(2), ints(8), ints(1)]);
    const rest = this.#b.op.Slice([wide.value, ints(-4), ints(2 ** 40), ints(1)]);
    return { value: this.#b.op.Concat([value, rest], { axis: 1 }), channels: 10 };
  }

  shuffle(x: Feature): Feature {
    const wide = this.conv(x, 12, 1, 1);
    const grouped = this.conv(wide, 12, 1, 3);
    const { op } = this.#b;
    const shape = (grouped.value.shape ?? []) as readonly Dim[];
    const [height, width] = shape.length === 4 ? [shape[2], shape[3]] : [8, 8];
    const sizes = [height as number, width as number] as const;
    const five = op.Transpose([op.Reshape([grouped.value, ints(0, 3, 4, ...sizes)])], {
      perm: [0, 2, 1, 3, 4],
    });
    return { value: op.Reshape([five, ints(0, 12, ...sizes)]), channels: 12 };
  }

  padded(x: Feature): Feature {
    const narrow = this.conv(x, 5);
    const value = this.#b.op.Pad([narrow.value, ints(0, 1, 0, 0, 0, 2, 0, 0)]);
    return this.batchNorm({ value, channels: 8 });
  }

  gathered(x: Feature): Feature {
    const wide = this.conv(x, 7, 1);
    return { value: this.#b.op.Gather([wide.value, ints(6, 0, 3, 3, 5)], { axis: 1 }), channels: 5 };
  }

  transposed(x: Feature): Feature {
    const group = this.#rng.integer(2) === 0 ? 1 : 2;
    const wide = this.conv(x, 6, 1);
    const w = this.weight(6, 8 / group, 1, 1);
    return { value: this.#b.op.ConvTranspose([wide.value, w, this.weight(8)], { group }), channels: 8 };
  }

  normalized(x: Feature): Feature {
    const wide = this.conv(x, 8);
    const { op } = this.#b;
    const kinds = [
      () => op.InstanceNormalization([wide.value, this.weight(8), this.weight(8)]),
      () => op.GroupNormalization([wide.value, this.weight(8), this.weight(8)], { num_groups: 4 }),
      () => {
        const mean = op.ReduceMean([wide.value, ints(2, 3)], { keepdims: true });
        return op.Sub([wide.value, mean]);
      },
    ];
    return { value: (kinds[this.#rng.integer(kinds.length)] as () => Value)(), channels: 8 };
  }

  twice(x: Feature): Feature {
    // One kernel read by two convolutions.
    const narrow = this.conv(x, 6, 1);
    const { op } = this.#b;
    const shared = this.#b.constant(this.#b.graph.uniqueName('shared'), this.weight(6, 6, 3, 3));
    const pads = [1, 1, 1, 1];
    const once = op.Relu([op.Conv([narrow.value, shared], { pads })]);
    return { value: op.Conv([once, shared], { pads }), channels: 6 };
  }

  block(x: Feature): Feature {
    const blocks = [
      () => this.residual(x),
      () => this.squeezeExcite(x),
      () => this.depthwise(x),
      () => this.grouped(x),
      () => this.branches(x),
      () => this.splitAndJoin(x),
      () => this.slice(x),
      () => this.shuffle(x),
      () => this.padded(x),
      () => this.gathered(x),
      () => this.transposed(x),
      () => this.normalized(x),
      () => this.twice(x),
    ];
    return (blocks[this.#rng.integer(blocks.length)] as () => Feature)();
  }
}

/** A random image network: input `x` [2, 3, 8, 8], output `logits` [2, 5]. */
export async function randomNet(rng: Rng, depth = 5): Promise<Model> {
  const b = new GraphBuilder('random');
  const net = new RandomNet(b, rng);
  let x: Feature = net.conv({ value: b.input('x', 'float32', [2, 3, 8, 8]), channels: 3 }, 6);
  for (let layer = 0; layer < depth; layer++) x = net.activate(net.block(x));
  x = net.conv(x, 4, 1);
  const { op } = b;
  const flat = rng.integer(2) === 0 ? op.Flatten([x.value]) : op.Reshape([x.value, ints(0, -1)]);
  const hidden = op.Relu([op.Gemm([flat, net.weight(256, 12), net.weight(12)])]);
  b.output('logits', op.Gemm([hidden, net.weight(5, 12), net.weight(5)], { transB: true }));
  return await b.build();
}
