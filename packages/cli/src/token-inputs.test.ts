import { type Feeds, Graph, Model, Tensor, tensorType } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { tokenInputs } from './token-inputs.ts';

type Declared = Readonly<
  Record<
    string,
    readonly [dtype: 'int64' | 'float32' | 'bool' | 'string', shape: readonly (number | string)[]]
  >
>;

/** A model with inputs, and a table of 37 rows that `input_ids` reads. */
function languageModel(inputs: Declared): Model {
  const graph = new Graph('tokens');
  for (const [name, [dtype, shape]] of Object.entries(inputs)) graph.addInput(name, tensorType(dtype, shape));
  const table = graph.addInitializer('table', Tensor.from('float32', [37, 4], new Float32Array(148)));
  const ids = graph.value('input_ids');
  const rows = graph.addNode({ opType: 'Gather', inputs: [table, ids ?? table] }).output();
  graph.setOutputs([rows]);
  return new Model({ graph });
}

async function samples(model: Model, options = {}): Promise<readonly Feeds[]> {
  const found: Feeds[] = [];
  for await (const { inputs } of tokenInputs(model, { seed: 0, ...options })?.batches() ?? [])
    found.push(inputs);
  return found;
}

const encoder = languageModel({
  input_ids: ['int64', ['batch', 'sequence']],
  attention_mask: ['int64', ['batch', 'sequence']],
  token_type_ids: ['int64', ['batch', 'sequence']],
  position_ids: ['int64', ['batch', 'sequence']],
});

describe('random tokens', () => {
  it('mean what the names of the inputs say, and stay in the vocabulary', async () => {
    const all = await samples(encoder);
    expect(all).toHaveLength(8);
    expect(new Set(all.map((feeds) => feeds['input_ids']?.shape[1])).size).toBeGreaterThan(2);
    for (const feeds of all) {
      const ids = feeds['input_ids']?.toFloat64Array() ?? [];
      expect(Math.max(...ids)).toBeLessThan(37);
      expect(new Set(ids).size).toBeGreaterThan(5);
      expect(new Set(feeds['attention_mask']?.toFloat64Array())).toEqual(new Set([1]));
      expect(new Set(feeds['token_type_ids']?.toFloat64Array())).toEqual(new Set([0]));
      expect([...(feeds['position_ids']?.toFloat64Array() ?? [])]).toEqual([...ids.keys()]);
    }
  });

  it('are the same for the same seed, and of the size that is asked for', async () => {
    const ids = async (options = {}) =>
      (await samples(encoder, options)).map((feeds) => [...(feeds['input_ids']?.toFloat64Array() ?? [])]);
    expect(await ids()).toEqual(await ids());
    expect(await ids()).not.toEqual(await ids({ seed: 1 }));
    const [first] = await samples(encoder, { shape: { input_ids: [2, 5] } });
    expect(first?.['input_ids']?.shape).toEqual([2, 5]);
    expect(first?.['attention_mask']?.shape).toEqual([1, 5]);
  });

  it('remember nothing of tokens before, as a decoder starts', async () => {
    const decoder = languageModel({
      input_ids: ['int64', ['batch_size', 'sequence_length']],
      attention_mask: ['int64', ['batch_size', 'past_sequence_length + sequence_length']],
      'past_key_values.0.key': ['float32', ['batch_size', 4, 'past_sequence_length', 8]],
      use_cache_branch: ['bool', [1]],
    });
    const [first] = await samples(decoder);
    expect(first?.['past_key_values.0.key']?.shape).toEqual([1, 4, 0, 8]);
    expect(first?.['attention_mask']?.shape).toEqual(first?.['input_ids']?.shape);
    expect([...(first?.['use_cache_branch']?.toFloat64Array() ?? [])]).toEqual([0]);
  });

  it('are not made up for other models, or inputs that nobody knows', () => {
    const vision = languageModel({ pixel_values: ['float32', ['N', 3, 8, 8]] });
    expect(tokenInputs(vision, { seed: 0 })).toBeUndefined();
    const odd = languageModel({ input_ids: ['int64', ['N', 'T']], sampling_rate: ['int64', [1]] });
    expect(tokenInputs(odd, { seed: 0 })).toBeUndefined();
    const values = { sampling_rate: Tensor.from('int64', [1], BigInt64Array.of(16000n)) };
    expect(tokenInputs(odd, { seed: 0, values })).toBeDefined();
  });
});
