import { attribute, type MetaKey, metaKey } from '@lithe/core';
import { type Adapter, type AdapterTable, drop, keepDefault, listToInput } from './adapter.ts';
import { Blocked } from './rewrite.ts';

/** Marks splits whose parts are equal, though nothing in the graph says so: they come from before opset 18. */
export const equalSplit: MetaKey<boolean> = metaKey('onnx/equal-split');

/** From opset 13 (sums) or 18 (the others) on, axes are an input; none still means all of them. */
const reduceAxes: Adapter = (rewrite) => {
  // An empty list meant all axes, as does an empty input unless the node says otherwise, which no old one does.
  listToInput('axes', 1)(rewrite);
};

const slice: Adapter = (rewrite) => {
  const starts = rewrite.ints('starts');
  const ends = rewrite.ints('ends');
  const axes = rewrite.ints('axes');
  if (starts === undefined || ends === undefined) throw new Blocked('it has no starts or ends');
  const inputs = [rewrite.node.input(0), rewrite.int64s('starts', starts), rewrite.int64s('ends', ends)];
  if (axes !== undefined) inputs.push(rewrite.int64s('axes', axes));
  drop('starts', 'ends', 'axes')(rewrite);
  rewrite.setInputs(inputs);
};

/** From opset 18 on, a split into equal parts says how many; they may differ by then, but old ones never did. */
const splitCount: Adapter = (rewrite) => {
  if (rewrite.node.input(1) !== null) return;
  rewrite.node.meta.set(equalSplit, true);
  rewrite.set('num_outputs', attribute.int(rewrite.node.outputs.length));
};

const pad: Adapter = (rewrite) => {
  const pads = rewrite.ints('pads');
  if (pads === undefined) throw new Blocked('it has no pads');
  const value = rewrite.float('value') ?? 0;
  const input = rewrite.node.input(0);
  const fill = value === 0 ? null : rewrite.scalarLike('value', value, input);
  const amounts = rewrite.int64s('pads', pads);
  drop('pads', 'value')(rewrite);
  rewrite.setInputs([input, amounts, fill]);
};

const topK: Adapter = (rewrite) => {
  const count = rewrite.int('k');
  if (count === undefined) throw new Blocked('it has no "k"');
  const value = rewrite.int64s('k', [count]);
  rewrite.set('k', undefined);
  rewrite.addInput(value);
};

const reshape: Adapter = (rewrite) => {
  rewrite.set('consumed_inputs', undefined);
  listToInput('shape', 1)(rewrite);
};

const scatter: Adapter = (rewrite) => {
  rewrite.become('ScatterElements', rewrite.node.inputs, rewrite.node.attributes);
};

const reduce = { 18: reduceAxes } as const;

/** Operators that move elements about or reduce axes. */
export const shapeAdapters: AdapterTable = {
  Concat: { 4: keepDefault('axis', attribute.int(1)) },
  Pad: {
    2: (rewrite) => {
      const pads = rewrite.ints('paddings');
      if (pads !== undefined) rewrite.set('pads', attribute.ints(pads));
      rewrite.set('paddings', undefined);
    },
    11: pad,
  },
  ReduceL1: reduce,
  ReduceL2: reduce,
  ReduceLogSum: reduce,
  ReduceLogSumExp: reduce,
  ReduceMax: reduce,
  ReduceMean: reduce,
  ReduceMin: reduce,
  ReduceProd: reduce,
  ReduceSum: { 13: reduceAxes },
  ReduceSumSquare: reduce,
  Reshape: { 5: reshape },
  Scatter: { 11: scatter },
  Slice: { 10: slice },
  Split: { 13: listToInput('split', 1), 18: splitCount },
  Squeeze: { 13: listToInput('axes', 1) },
  TopK: { 10: topK },
  Unsqueeze: { 13: listToInput('axes', 1) },
};
