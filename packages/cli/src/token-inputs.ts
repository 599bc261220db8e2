import {
  type BatchOptions,
  constantOf,
  createRng,
  type Dataset,
  elementsOf,
  type Feeds,
  type Model,
  type Rng,
  Tensor,
  type Value,
} from '@lithe/core';
import type { Shapes } from './options.ts';

/** Samples of random tokens. */
const SAMPLES = 8;

/** Tokens of the samples, in turn, where the model leaves it open; the first is what latency is taken on. */
const lengths = [32, 12, 48, 20];

/** Names that inputs of token numbers have in exported language models. */
const idNames: ReadonlySet<string> = new Set(['input_ids', 'decoder_input_ids']);

/** How {@link tokenInputs} makes samples. */
export interface TokenInputOptions {
  /** Sizes of inputs, by name. */
  readonly shape?: Shapes | undefined;
  /** Inputs with fixed contents. */
  readonly values?: Readonly<Record<string, Tensor>> | undefined;
  /** Seed. */
  readonly seed: number;
}

/** Rows of the table that a `Gather` looks these token numbers up in. */
function vocabularyOf(input: Value): number | undefined {
  for (const { node, index } of input.uses) {
    if (node.is('Gather') && index === 1) return constantOf(node.input(0))?.shape[0];
    if (index === 0 && (node.is('Cast') || node.is('Identity') || node.is('Reshape'))) {
      const found = vocabularyOf(node.output());
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Dims of one sample: open sizes are 1 for the batch, 0 for what is remembered of tokens before, else `length`. */
function shapeOf(value: Value, given: readonly number[] | undefined, length: number): readonly number[] {
  if (given !== undefined) return given;
  return (value.shape ?? []).map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    if (axis === 0) return 1;
    return dim !== null && /past/i.test(dim) && !/\+|total/i.test(dim) ? 0 : length;
  });
}

/** Contents of an input by what its name means. */
function contentsOf(value: Value, shape: readonly number[], rng: Rng): Tensor | undefined {
  const elements = elementsOf(shape);
  const { name, dtype } = value;
  const bound = idNames.has(name) ? (vocabularyOf(value) ?? 100) : 0;
  const columns = Math.max(1, shape.at(-1) ?? 1);
  const whole = (index: number): number => {
    if (idNames.has(name)) return rng.integer(bound);
    if (name.endsWith('attention_mask')) return 1;
    return name === 'position_ids' ? index % columns : 0;
  };
  const known = idNames.has(name) || /(attention_mask|token_type_ids|position_ids)$/.test(name);
  switch (dtype) {
    case 'int64':
      return known
        ? Tensor.from(
            'int64',
            shape,
            BigInt64Array.from({ length: elements }, (_, i) => BigInt(whole(i))),
          )
        : undefined;
    case 'int32':
      return known
        ? Tensor.from(
            'int32',
            shape,
            Int32Array.from({ length: elements }, (_, i) => whole(i)),
          )
        : undefined;
    case 'bool':
      return Tensor.from('bool', shape, new Uint8Array(elements));
    case 'float32':
      return Tensor.from(
        'float32',
        shape,
        Float32Array.from({ length: elements }, (_, i) => (known ? whole(i) : rng.normal())),
      );
    default:
      return undefined;
  }
}

/**
 * Random inputs for a language model, where each input means what its name says: token numbers from the model's own
 * vocabulary, masks that hide nothing, positions that count up. `undefined` for a model that takes no tokens, or
 * something beside them that is not known.
 */
export function tokenInputs(model: Model, options: TokenInputOptions): Dataset | undefined {
  const inputs = model.graph.inputs.filter((value) => value.initializer === undefined);
  if (!inputs.some((value) => idNames.has(value.name) && (value.shape?.length ?? 0) >= 1)) return undefined;
  const sample = (rng: Rng, length: number): Feeds | undefined => {
    const feeds: Record<string, Tensor> = {};
    for (const value of inputs) {
      const { name } = value;
      const made =
        options.values?.[name] ?? contentsOf(value, shapeOf(value, options.shape?.[name], length), rng);
      if (made === undefined) return undefined;
      feeds[name] = made;
    }
    return feeds;
  };
  if (sample(createRng(options.seed), lengths[0] as number) === undefined) return undefined;
  const given = Object.entries(options.shape ?? {})
    .find(([name]) => idNames.has(name))?.[1]
    .at(-1);
  return {
    size: SAMPLES,
    description: `random tokens (seed ${options.seed})`,
    async *batches(how: BatchOptions = {}) {
      const rng = createRng(options.seed).fork('token-inputs');
      for (let index = 0; index < Math.min(SAMPLES, how.limit ?? SAMPLES); index++) {
        how.signal?.throwIfAborted();
        const feeds = sample(rng, given ?? (lengths[index % lengths.length] as number));
        if (feeds !== undefined) yield { inputs: feeds, size: 1 };
      }
    },
  };
}
