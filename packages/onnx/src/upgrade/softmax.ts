import { attribute } from '@lithe/core';
import type { Adapter, AdapterTable } from './adapter.ts';
import { Blocked } from './rewrite.ts';

/**
 * Until opset 12, softmax worked on the tensor flattened to two dims at `axis` (default 1): over all elements from
 * that axis on, not along it. From 13 on it works along one axis, the last by default. The two agree when at most one
 * of the dims from `axis` on is larger than 1; otherwise the flattening is written out.
 */
const softmax: Adapter = (rewrite) => {
  const axis = Number(rewrite.int('axis') ?? 1n);
  const input = rewrite.node.input(0);
  if (axis === -1) return rewrite.set('axis', attribute.int(-1));
  const shape = input?.shape ?? rewrite.node.outputs[0]?.shape;
  const rank = shape?.length ?? (input === null ? undefined : rewrite.types.rankOf(input));
  if (rank !== undefined) {
    const start = axis < 0 ? axis + rank : axis;
    if (start < 0 || start > rank) throw new Blocked(`its axis is ${axis}, and its input has ${rank} dims`);
    if (start === rank - 1) return rewrite.set('axis', attribute.int(-1));
    const wide: number[] = [];
    for (let index = start; index < rank; index++) if (shape?.[index] !== 1) wide.push(index);
    if (wide.length <= 1) return rewrite.set('axis', attribute.int(wide[0] ?? start));
  }
  const dims = rewrite.before('Shape', [input]);
  const flat = rewrite.before('Flatten', [input], { axis: attribute.int(axis) });
  const { opType } = rewrite.node;
  const result = rewrite.before(opType, [flat], { axis: attribute.int(-1) });
  rewrite.become('Reshape', [result, dims], new Map([['allowzero', attribute.int(1)]]));
};

/** The softmax family. */
export const softmaxAdapters: AdapterTable = {
  Hardmax: { 13: softmax },
  LogSoftmax: { 13: softmax },
  Softmax: { 13: softmax },
};
