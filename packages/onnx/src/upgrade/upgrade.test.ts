import { isLitheError, WORKING_OPSET } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { around, modelBytes } from '../../test/build.ts';
import { readOnnx } from '../read/read-onnx.ts';
import { schemaTable } from '../schema/schema-table.ts';
import { adapters, upgradeNotes } from './upgrade.ts';

describe('the table of adapters', () => {
  it('has an entry wherever an operator lost an attribute or was dropped between opsets 7 and 21', () => {
    const missing: string[] = [];
    for (const [opType, rows] of Object.entries(schemaTable)) {
      for (let index = 1; index < rows.length; index++) {
        const before = rows[index - 1];
        const after = rows[index];
        if (before === undefined || after === undefined || after[0] <= 6 || after[0] > WORKING_OPSET)
          continue;
        const names = (text: string | undefined): string[] =>
          text === undefined || text === '' ? [] : text.split(' ').map((item) => item.split(':')[0] ?? '');
        const kept = new Set(names(after[3]));
        const lost = names(before[3]).filter((name) => !kept.has(name));
        const answered = Object.keys(adapters[opType] ?? {}).some((to) => Number(to) >= after[0]);
        if ((lost.length > 0 || after.length === 1) && !answered) missing.push(`${opType} ${after[0]}`);
      }
    }
    expect(missing).toEqual([]);
  });

  it('names only operators and opsets that exist', () => {
    for (const [opType, own] of Object.entries(adapters)) {
      const versions = (schemaTable[opType] ?? []).map((row) => row[0]);
      expect(versions.length, opType).toBeGreaterThan(0);
      for (const to of Object.keys(own)) {
        // Upsample was dropped at 10; its replacement takes the form of 11 at once.
        if (opType !== 'Upsample') expect(versions, `${opType} ${to}`).toContain(Number(to));
      }
    }
  });
});

describe('upgrading', () => {
  it('carries what it cannot express, names it, and keeps the opset of the others', async () => {
    const bytes = modelBytes(
      around(
        { opType: 'Clip', input: ['x'], output: ['c'], name: 'clip' },
        {
          opType: 'BatchNormalization',
          input: ['c', 's', 's', 's', 's'],
          output: ['y'],
          name: 'bn',
          attribute: [{ name: 'spatial', type: 2, i: 0n }],
        },
      ),
      8,
      {},
    );
    await expect(readOnnx(bytes)).rejects.toSatisfy((error) => isLitheError(error, 'MODEL_INVALID'));
    const graph = around(
      { opType: 'Clip', input: ['x'], output: ['c'], name: 'clip' },
      {
        opType: 'BatchNormalization',
        input: ['c', 'x', 'x', 'x', 'x'],
        output: ['y'],
        name: 'bn',
        attribute: [{ name: 'spatial', type: 2, i: 0n }],
      },
    );
    const model = await readOnnx(modelBytes(graph, 8));
    expect(upgradeNotes(model)).toEqual([
      {
        node: 'bn',
        opType: 'BatchNormalization',
        opset: 8,
        reason:
          'Node "bn" (BatchNormalization) stays at opset 8: it normalizes each element by itself (spatial = 0).',
      },
    ]);
    expect(model.opset).toBe(21);
    expect([...model.graph.nodes()].map((node) => node.domain)).toEqual(['', 'ai.onnx@8']);
  });

  it('accepts newer opsets where the form is known, and carries the rest', async () => {
    const graph = around(
      { opType: 'Relu', input: ['x'], output: ['a'] },
      { opType: 'RMSNormalization', input: ['a', 'x'], output: ['b'] },
      {
        opType: 'Cast',
        input: ['b'],
        output: ['y'],
        attribute: [
          { name: 'to', type: 2, i: 1n },
          { name: 'round_mode', type: 3, s: new TextEncoder().encode('down') },
        ],
      },
    );
    const model = await readOnnx(modelBytes(graph, 24));
    expect([...model.graph.nodes()].map((node) => node.op)).toEqual([
      'Relu',
      'RMSNormalization',
      'ai.onnx@24.Cast',
    ]);
    expect(upgradeNotes(model).map((note) => note.opType)).toEqual(['Cast']);
  });

  it('writes out the flattening of an old softmax whose axis is not the last', async () => {
    const graph = around({
      opType: 'Softmax',
      input: ['x'],
      output: ['y'],
      attribute: [{ name: 'axis', type: 2, i: 0n }],
    });
    const model = await readOnnx(modelBytes(graph, 11));
    expect([...model.graph.nodes()].map((node) => node.opType)).toEqual([
      'Shape',
      'Flatten',
      'Softmax',
      'Reshape',
    ]);
    expect(model.graph.outputs[0]?.name).toBe('y');
  });
});
