import { isLitheError } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { readTensorProto, readValueProto } from './read-value-proto.ts';

/** `dims: 2, data_type: FLOAT, raw_data` of [1, 2], written out by hand from onnx.proto. */
const tensor = new Uint8Array([0x08, 2, 0x10, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);

const field = (number: number, payload: Uint8Array): Uint8Array =>
  new Uint8Array([(number << 3) | 2, payload.length, ...payload]);

const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
  } catch (error) {
    return isLitheError(error) ? error.code : String(error);
  }
  return undefined;
};

describe('readValueProto', () => {
  it('reads tensors, sequences and optional values', () => {
    expect(readTensorProto(tensor).data).toEqual(new Float32Array([1, 2]));
    const sequence = new Uint8Array([...field(3, tensor), ...field(3, tensor)]);
    const read = readValueProto(sequence, 'sequence');
    expect(read).toMatchObject({ kind: 'sequence', items: [{ shape: [2] }, { shape: [2] }] });
    expect(readValueProto(field(5, sequence), 'optional')).toMatchObject({
      kind: 'optional',
      value: { kind: 'sequence' },
    });
    expect(readValueProto(new Uint8Array([0x10, 0]), 'optional')).toEqual({ kind: 'optional', value: null });
  });

  it('refuses maps, garbage and nesting without end', () => {
    expect(codeOf(() => readValueProto(field(6, tensor), 'sequence'))).toBe('FILE_INVALID');
    expect(codeOf(() => readValueProto(new Uint8Array([0x1a, 200]), 'sequence'))).toBe('FILE_INVALID');
    let nested: Uint8Array = new Uint8Array(0);
    for (let depth = 0; depth < 40; depth++) nested = field(5, nested);
    expect(codeOf(() => readValueProto(nested, 'sequence', { limits: { maxDepth: 8 } }))).toBe(
      'LIMIT_EXCEEDED',
    );
  });
});
