import type { InferContext } from '../op/op-def.ts';
import { type AnyInferContext, broadcastShapes } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the text operators. */
export const textSchemas = {
  RegexFullMatch: {
    since: 20,
    inputs: 'X:T1',
    outputs: 'Y:T2',
    types: { T1: 'string', T2: 'bool' },
    attributes: { pattern: 'string?' },
  },
  StringConcat: { since: 20, inputs: 'X:T Y:T', outputs: 'Z:T', types: { T: 'string' } },
  StringNormalizer: {
    since: 10,
    inputs: 'X:string',
    outputs: 'Y:string',
    attributes: {
      case_change_action: ['one', 'NONE', 'LOWER', 'UPPER'],
      is_case_sensitive: ['flag', false],
      locale: 'string?',
      stopwords: 'strings?',
    },
  },
  StringSplit: {
    since: 20,
    inputs: 'X:T1',
    outputs: 'Y:T2 Z:T3',
    types: { T1: 'string', T2: 'string', T3: 'int64' },
    attributes: { delimiter: 'string?', maxsplit: 'int?' },
  },
  TfIdfVectorizer: {
    since: 9,
    inputs: 'X:T',
    outputs: 'Y:T1',
    types: { T: 'int32 int64 string', T1: 'float32' },
    attributes: {
      max_gram_length: 'int!',
      max_skip_count: 'int!',
      min_gram_length: 'int!',
      mode: ['one!', 'TF', 'IDF', 'TFIDF'],
      ngram_counts: 'ints!',
      ngram_indexes: 'ints!',
      pool_int64s: 'ints?',
      pool_strings: 'strings?',
      weights: 'floats?',
    },
  },
} as const;

function inferStringConcat(context: AnyInferContext): void {
  context.output(0, 'string', broadcastShapes(context, [context.shape(0), context.shape(1)]));
}

function inferStringSplit(context: AnyInferContext): void {
  const shape = context.shape(0);
  context.output(0, 'string', shape === undefined ? undefined : [...shape, context.freshDim('parts')]);
  context.output(1, 'int64', shape);
}

/** Words may be dropped; when all are, one empty text stays. */
function inferStringNormalizer(
  context: InferContext<{ readonly stopwords: readonly string[] | undefined }>,
): void {
  const shape = context.shape(0);
  if (shape !== undefined && !(shape.length === 1 || shape.length === 2))
    context.fail(`the input must have 1 or 2 dims, not [${shape.join(', ')}]`);
  const drops = (context.attributes.stopwords ?? []).length > 0;
  context.output(
    0,
    'string',
    shape === undefined || !drops ? shape : [...shape.slice(0, -1), context.freshDim('words')],
  );
}

function inferTfIdf(context: InferContext<{ readonly ngram_indexes: readonly number[] }>): void {
  const shape = context.shape(0);
  if (shape !== undefined && !(shape.length === 1 || shape.length === 2))
    context.fail(`the input must have 1 or 2 dims, not [${shape.join(', ')}]`);
  let width = 0;
  for (const index of context.attributes.ngram_indexes) width = Math.max(width, index + 1);
  context.output(0, 'float32', shape === undefined ? undefined : [...shape.slice(0, -1), width]);
}

/** Definitions of the text operators. */
export const textOps: OpFamily<typeof textSchemas> = opFamily(textSchemas, {
  RegexFullMatch: (context) => context.output(0, 'bool', context.shape(0)),
  StringConcat: inferStringConcat,
  StringNormalizer: inferStringNormalizer,
  StringSplit: inferStringSplit,
  TfIdfVectorizer: inferTfIdf,
});
