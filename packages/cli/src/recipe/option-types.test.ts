import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type JsonSchema, jsonSchemaOf } from './issues.ts';
import { optionTypes } from './option-types.ts';

describe('optionTypes', () => {
  it('tells in words what options take, and what holds without them', () => {
    const schema = z.strictObject({
      epochs: z.int().min(1),
      rate: z.number().gt(0).lt(1).optional(),
      format: z.enum(['qdq', 'qoperator']).default('qdq'),
      depth: z.union([z.boolean(), z.literal('auto'), z.custom<() => void>()]).default('auto'),
      bits: z.literal([4, 8]).default(8),
      exclude: z.array(z.string()).default([]),
      ratios: z.record(z.string(), z.union([z.number().max(2), z.null()])).optional(),
      optimizer: z
        .discriminatedUnion('name', [
          z.strictObject({ name: z.literal('sgd'), momentum: z.number().optional() }),
          z.strictObject({ name: z.literal('lion') }),
        ])
        .optional(),
      hook: z.custom<() => void>().optional(),
    });
    expect(optionTypes(jsonSchemaOf(schema) as JsonSchema)).toEqual([
      { name: 'epochs', type: 'integer ≥ 1', standard: 'must be given' },
      { name: 'rate', type: 'number > 0, < 1', standard: '' },
      { name: 'format', type: 'qdq | qoperator', standard: '"qdq"' },
      { name: 'depth', type: 'boolean | auto', standard: '"auto"' },
      { name: 'bits', type: '4 | 8', standard: '8' },
      { name: 'exclude', type: 'list of string', standard: '[]' },
      { name: 'ratios', type: 'map of (number ≤ 2 | null)', standard: '' },
      { name: 'optimizer', type: '{ name: sgd, momentum } | { name: lion }', standard: '' },
      { name: 'hook', type: 'anything', standard: '' },
    ]);
  });

  it('ends on schemas that hold themselves', () => {
    const tree: z.ZodType = z.lazy(() => z.union([z.number(), z.array(tree)]));
    const [option] = optionTypes(jsonSchemaOf(z.strictObject({ tree })) as JsonSchema);
    expect(option?.type).toContain('number | list of (number | list of');
  });
});
