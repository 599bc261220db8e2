import { GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';

/** What a BERT's `config.json` says of its sizes. */
export interface BertConfig {
  /** Blocks. */
  readonly num_hidden_layers: number;
  /** Heads of attention. */
  readonly num_attention_heads: number;
  /** Features per token. */
  readonly hidden_size: number;
  /** What normalizations add to the variance. */
  readonly layer_norm_eps: number;
}

type Weights = Readonly<Record<string, Tensor>>;

/** `[outputs, inputs]`, as PyTorch stores a linear layer, to `[inputs, outputs]`, as `MatMul` reads it. */
function transposed(weight: Tensor): Tensor<'float32'> {
  const [rows, columns] = weight.shape as readonly [number, number];
  const data = weight.data as Float32Array;
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column]!;
  return Tensor.from('float32', [columns, rows], out);
}

class Encoder {
  readonly b = new GraphBuilder('bert');
  readonly #weights: Weights;
  readonly #config: BertConfig;

  constructor(config: BertConfig, weights: Weights) {
    this.#config = config;
    this.#weights = weights;
  }

  weight(name: string): Tensor {
    const found = this.#weights[name];
    if (found?.dtype !== 'float32') throw new Error(`The weights lack ${name} in float32.`);
    return found;
  }

  embed(name: string, indices: Value): Value {
    const table = `embeddings.${name}.weight`;
    return this.b.op.Gather([this.b.constant(table, this.weight(table)), indices], { axis: 0 });
  }

  scalar(value: number): Tensor<'float32'> {
    return Tensor.from('float32', [], Float32Array.of(value));
  }

  integers(values: readonly number[]): Tensor<'int64'> {
    return Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  linear(x: Value, name: string): Value {
    const { op } = this.b;
    const weight = this.b.constant(`${name}.weight`, transposed(this.weight(`${name}.weight`)));
    const product = op.MatMul([x, weight], {}, { name: `${name}.product` });
    return op.Add([product, this.b.constant(`${name}.bias`, this.weight(`${name}.bias`))]);
  }

  norm(x: Value, name: string): Value {
    return this.b.op.LayerNormalization([x, this.weight(`${name}.weight`), this.weight(`${name}.bias`)], {
      axis: -1,
      epsilon: this.#config.layer_norm_eps,
    });
  }

  /** Gelu in the operators that exporters write, so that runtimes fuse it as they do theirs. */
  gelu(x: Value): Value {
    const { op } = this.b;
    const erf = op.Erf([op.Div([x, this.scalar(Math.SQRT2)])]);
    return op.Mul([op.Mul([x, op.Add([erf, this.scalar(1)])]), this.scalar(0.5)]);
  }

  attention(x: Value, name: string, mask: Value): Value {
    const { op } = this.b;
    const { num_attention_heads: heads, hidden_size: width } = this.#config;
    const head = (part: string, perm: readonly number[]): Value =>
      op.Transpose(
        [op.Reshape([this.linear(x, `${name}.self.${part}`), this.integers([0, 0, heads, width / heads])])],
        { perm },
      );
    const scores = op.MatMul([head('query', [0, 2, 1, 3]), head('key', [0, 2, 3, 1])]);
    const scaled = op.Div([scores, this.scalar(Math.sqrt(width / heads))]);
    const shares = op.Softmax([op.Add([scaled, mask])], { axis: -1 });
    const mixed = op.Transpose([op.MatMul([shares, head('value', [0, 2, 1, 3])])], { perm: [0, 2, 1, 3] });
    const joined = op.Reshape([mixed, this.integers([0, 0, width])]);
    return this.norm(op.Add([this.linear(joined, `${name}.output.dense`), x]), `${name}.output.LayerNorm`);
  }

  /** 0 where there is a token, the lowest float where there is none, `[batch, 1, 1, tokens]`. */
  mask(attention: Value): Value {
    const { op } = this.b;
    const wide = op.Cast([op.Unsqueeze([attention, this.integers([1, 2])])], { to: 1 });
    return op.Mul([op.Sub([this.scalar(1), wide]), this.scalar(-3.4028234663852886e38)]);
  }

  positions(ids: Value): Value {
    const { op } = this.b;
    const tokens = op.Squeeze([op.Shape([ids], { start: 1, end: 2 }), this.integers([0])]);
    const count = (value: bigint): Tensor<'int64'> => Tensor.from('int64', [], BigInt64Array.of(value));
    return op.Range([count(0n), tokens, count(1n)]);
  }
}

/**
 * A BERT encoder from its weights by PyTorch's names, in the operators and with the interface of the usual ONNX
 * export: `input_ids`, `attention_mask`, `token_type_ids` int64 `[batch, sequence]`; `last_hidden_state`
 * `[batch, sequence, hidden]`.
 *
 * @see Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019
 */
export async function bert(config: BertConfig, weights: Weights): Promise<Model> {
  const encoder = new Encoder(config, weights);
  const { b } = encoder;
  const [ids, attention, types] = ['input_ids', 'attention_mask', 'token_type_ids'].map((name) =>
    b.input(name, 'int64', ['batch', 'sequence']),
  ) as [Value, Value, Value];
  const mask = encoder.mask(attention);
  const words = b.op.Add([
    encoder.embed('word_embeddings', ids),
    encoder.embed('token_type_embeddings', types),
  ]);
  const placed = b.op.Add([words, encoder.embed('position_embeddings', encoder.positions(ids))]);
  let x = encoder.norm(placed, 'embeddings.LayerNorm');
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `encoder.layer.${layer}`;
    x = encoder.attention(x, `${name}.attention`, mask);
    const middle = encoder.gelu(encoder.linear(x, `${name}.intermediate.dense`));
    x = encoder.norm(
      b.op.Add([encoder.linear(middle, `${name}.output.dense`), x]),
      `${name}.output.LayerNorm`,
    );
  }
  b.output('last_hidden_state', x);
  return b.build();
}
