import { attribute, type MetaKey, metaKey, Tensor } from '@lithe/core';
import { type Adapter, type AdapterTable, blocked, drop } from './adapter.ts';
import { Blocked } from './rewrite.ts';

/** Names of element types in `Cast` at opset 1: those of `TensorProto.DataType`. */
const typeNumbers: Readonly<Record<string, number>> = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
};

const cast: Adapter = (rewrite) => {
  const name = rewrite.string('to') ?? '';
  const code = Object.hasOwn(typeNumbers, name.toUpperCase()) ? typeNumbers[name.toUpperCase()] : undefined;
  if (code === undefined) throw new Blocked(`its type is "${name}"`);
  rewrite.set('to', attribute.int(code));
};

const dft: Adapter = (rewrite) => {
  const axis = rewrite.int('axis') ?? 1n;
  const [input = null, length = null] = rewrite.node.inputs;
  const value = rewrite.constant('axis', Tensor.from('int64', [], new BigInt64Array([axis])));
  rewrite.set('axis', undefined);
  rewrite.setInputs([input, length, value]);
};

/** Marks pools that rounded up and counted padding before opset 19 said how. */
export const oldCeiling: MetaKey<boolean> = metaKey('onnx/old-ceiling');

/**
 * With `ceil_mode` and padding counted, opset 19 says that only the part of a window inside the padded input counts.
 * Earlier definitions left it open; PyTorch, where such nodes come from, and onnxruntime have always done it so.
 */
const averagePool: Adapter = (rewrite) => {
  const rounded = (rewrite.int('ceil_mode') ?? 0n) !== 0n;
  const counted = (rewrite.int('count_include_pad') ?? 0n) !== 0n;
  if (rounded && counted) rewrite.node.meta.set(oldCeiling, true);
};

const recurrent = { 7: drop('output_sequence') } as const;

/** Operators of no larger family. */
export const otherAdapters: AdapterTable = {
  AveragePool: { 19: averagePool },
  Cast: { 6: cast },
  DFT: { 20: dft },
  GRU: recurrent,
  LSTM: recurrent,
  RNN: recurrent,
  Scan: { 9: blocked('it scanned batches of sequences') },
  Tile: { 6: blocked('it repeated one axis') },
};
