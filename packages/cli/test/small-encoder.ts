import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createRng, dtypes, GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';

const words = [
  ...['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', ',', '!', '?'],
  ...[
    'the',
    'a',
    'man',
    'woman',
    'cat',
    'dog',
    'is',
    'was',
    'plays',
    'sleeps',
    'runs',
    'guitar',
    'street',
    'on',
  ],
  ...['in', 'mat', 'park', 'and', 'with', 'red', 'blue', 'small', 'large', 'house', 'sees', 'how', 'do', 'i'],
  ...['##s', '##ing', '##er', '##ly', '##ed'],
  ...'abcdefghijklmnopqrstuvwxyz'.split(''),
  ...[...'abcdefghijklmnopqrstuvwxyz'].map((letter) => `##${letter}`),
];

/** Sizes of the encoder. */
const sizes = { layers: 2, width: 64, heads: 4, inner: 128, positions: 64 } as const;

/** `tokenizer.json` of an uncased WordPiece vocabulary. */
function tokenizer(): unknown {
  const special = (content: string) => ({
    id: words.indexOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const token = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const sequence = { Sequence: { id: 'A', type_id: 0 } };
  const known = (id: string) => [id, { id, ids: [words.indexOf(id)], tokens: [id] }];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map(special),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [token('[CLS]'), sequence, token('[SEP]')],
      pair: [token('[CLS]'), sequence, token('[SEP]'), { Sequence: { id: 'B', type_id: 1 } }, token('[SEP]')],
      special_tokens: Object.fromEntries(['[CLS]', '[SEP]'].map(known)),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, index) => [word, index])),
    },
  };
}

/** An encoder of BERT's form and signature, as exporters write it, with random weights: it says nothing about texts. */
export async function randomEncoder(): Promise<Model> {
  const { layers, width, heads, inner, positions } = sizes;
  const b = new GraphBuilder('random-encoder');
  const { op } = b;
  const rng = createRng(11);
  let count = 0;
  const normal = (shape: readonly number[], deviation: number): Value => {
    const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
    for (let index = 0; index < data.length; index++) data[index] = rng.normal() * deviation;
    return b.constant(`weight.${count++}`, Tensor.from('float32', shape, data));
  };
  const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));
  const int64s = (...values: number[]): Tensor =>
    Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
  const ids = b.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
  const mask = b.input('attention_mask', 'int64', ['batch_size', 'sequence_length']);
  const types = b.input('token_type_ids', 'int64', ['batch_size', 'sequence_length']);
  const ones = (): Tensor => Tensor.from('float32', [width], new Float32Array(width).fill(1));
  const norm = (x: Value): Value =>
    op.LayerNormalization([x, ones(), normal([width], 0.02)], { axis: -1, epsilon: 1e-12 });
  const linear = (x: Value, from: number, to: number): Value =>
    op.Add([op.MatMul([x, normal([from, to], 1.5 / Math.sqrt(from))]), normal([to], 0.02)]);
  const split = (x: Value, perm: readonly number[]): Value =>
    op.Transpose([op.Reshape([x, int64s(0, 0, heads, width / heads)])], { perm });

  const length = op.Gather([op.Shape([ids]), int64s(1)]);
  const table = op.Slice([normal([positions, width], 0.3), int64s(0), length, int64s(0)]);
  const words_ = op.Gather([normal([words.length, width], 0.6), ids]);
  let x = norm(op.Add([op.Add([words_, op.Gather([normal([2, width], 0.1), types])]), table]));
  // The mask as PyTorch's exporter leaves it: (1 - mask) * the lowest float32.
  const hidden = op.Sub([
    scalar(1),
    op.Cast([op.Unsqueeze([mask, int64s(1, 2)])], { to: dtypes.float32.onnx }),
  ]);
  const bias = op.Mul([hidden, scalar(-3.4028234663852886e38)]);
  for (let layer = 0; layer < layers; layer++) {
    const scores = op.MatMul([
      split(linear(x, width, width), [0, 2, 1, 3]),
      split(linear(x, width, width), [0, 2, 3, 1]),
    ]);
    const shares = op.Softmax([op.Add([op.Div([scores, scalar(Math.sqrt(width / heads))]), bias])], {
      axis: -1,
    });
    const mixed = op.MatMul([shares, split(linear(x, width, width), [0, 2, 1, 3])]);
    const joined = op.Reshape([op.Transpose([mixed], { perm: [0, 2, 1, 3] }), int64s(0, 0, width)]);
    x = norm(op.Add([x, linear(joined, width, width)]));
    const middle = linear(x, width, inner);
    const gelu = op.Mul([
      op.Mul([middle, op.Add([op.Erf([op.Div([middle, scalar(Math.SQRT2)])]), scalar(1)])]),
      scalar(0.5),
    ]);
    x = norm(op.Add([x, linear(gelu, inner, width)]));
  }
  b.output('last_hidden_state', x);
  return b.build();
}

/** Writes a model repository as transformers.js reads it: `config.json`, the tokenizer, `model.onnx` beside them. */
export async function writeRandomEncoder(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const { layers, width, heads, inner, positions } = sizes;
  const files: Readonly<Record<string, unknown>> = {
    'config.json': {
      model_type: 'bert',
      architectures: ['BertModel'],
      vocab_size: words.length,
      hidden_size: width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: inner,
      max_position_embeddings: positions,
      type_vocab_size: 2,
    },
    'tokenizer.json': tokenizer(),
    'tokenizer_config.json': {
      tokenizer_class: 'BertTokenizer',
      model_max_length: positions,
      do_lower_case: true,
      pad_token: '[PAD]',
      unk_token: '[UNK]',
      cls_token: '[CLS]',
      sep_token: '[SEP]',
      mask_token: '[MASK]',
    },
  };
  for (const [name, content] of Object.entries(files))
    writeFileSync(path.join(folder, name), JSON.stringify(content));
  const model = path.join(folder, 'model.onnx');
  await saveOnnx(await randomEncoder(), model);
  return model;
}
