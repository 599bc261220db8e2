import { attribute, constantOf, Tensor, type Value } from '@lithe/core';
import { type Adapter, type AdapterTable, blocked, drop } from './adapter.ts';
import { Blocked, type Rewrite } from './rewrite.ts';

/** Before opset 14, statistics came out of a node in training mode, and only of one. */
const batchNormalization: Adapter = (rewrite) => {
  const more = rewrite.node.outputs.slice(1).some((value) => value.name !== '');
  if (more) throw new Blocked('it is in training mode');
};

const spatial: Adapter = (rewrite) => {
  if ((rewrite.int('spatial') ?? 1n) === 0n)
    throw new Blocked('it normalizes each element by itself (spatial = 0)');
  rewrite.set('spatial', undefined);
};

/** Scale and bias were per group at opset 18, and are per channel from 21 on. */
const groupNormalization: Adapter = (rewrite) => {
  const groups = rewrite.int('num_groups');
  const [input = null, scale = null, bias = null] = rewrite.node.inputs;
  if (groups === undefined || groups < 1n || input === null || scale === null || bias === null) {
    throw new Blocked('it lacks an input or the number of groups');
  }
  const repeat = repeater(rewrite, input, groups);
  const wideScale = repeat('scale', scale);
  const wideBias = repeat('bias', bias);
  rewrite.setInputs([input, wideScale, wideBias]);
};

/** Channels up to which repeated values are computed here: dims of a file are claims, and cost nothing to make. */
const mostChannels = 2 ** 20;

/** Repeats each value of a group for its channels, as nodes: the number of channels may be known only at run time. */
function repeater(rewrite: Rewrite, input: Value, groups: bigint): (suffix: string, value: Value) => Value {
  const channels = input.shape?.[1];
  let target: Value | undefined;
  return (suffix, value) => {
    const known = constantOf(value);
    const fits = typeof channels === 'number' && channels <= mostChannels && channels % Number(groups) === 0;
    if (fits && known instanceof Tensor && BigInt(known.size) === groups) {
      return rewrite.constant(suffix, repeated(known, channels / Number(groups)));
    }
    if (target === undefined) {
      const count = rewrite.before('Shape', [input], { start: attribute.int(1), end: attribute.int(2) });
      const group = rewrite.int64s('groups', [groups]);
      const each = rewrite.before('Div', [count, group]);
      target = rewrite.before('Concat', [group, each], { axis: attribute.int(0) });
    }
    const column = rewrite.before('Unsqueeze', [value, rewrite.int64s(`${suffix}_axes`, [1n])]);
    const wide = rewrite.before('Expand', [column, target]);
    return rewrite.before('Reshape', [wide, rewrite.int64s(`${suffix}_shape`, [-1n])]);
  };
}

function repeated(tensor: Tensor, times: number): Tensor {
  const width = tensor.byteLength / tensor.size;
  const out = new Uint8Array(tensor.byteLength * times);
  for (let index = 0; index < tensor.size; index++) {
    const item = tensor.bytes.subarray(index * width, (index + 1) * width);
    for (let copy = 0; copy < times; copy++) out.set(item, (index * times + copy) * width);
  }
  return Tensor.fromBytes(tensor.dtype, [tensor.size * times], out);
}

/** Operators that normalize. */
export const normalizationAdapters: AdapterTable = {
  BatchNormalization: {
    6: drop('consumed_inputs'),
    // A node with one output computes the same in both modes of opset 6: the statistics are inputs.
    7: drop('is_test'),
    9: spatial,
    14: batchNormalization,
  },
  GroupNormalization: { 21: groupNormalization },
  InstanceNormalization: { 6: drop('consumed_inputs') },
  LpPool: { 2: blocked('its "p" was a fraction') },
};
