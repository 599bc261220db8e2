import { attr } from '../../op/attributes.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { broadcastWalk, fromNumbers, int64Tensor } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { broadcastTwo } from './numeric.ts';

function textsOf(
  context: KernelContext,
  index: number,
): { readonly texts: readonly string[]; readonly tensor: Tensor } {
  const tensor = context.tensor(index);
  if (tensor.dtype !== 'string') context.wrongType(tensor.dtype, ['string']);
  return { texts: tensor.data as unknown as readonly string[], tensor };
}

/** ONNX `StringNormalizer` (opset 10): drops stop words, changes case; one empty text where nothing is left. */
const stringNormalizer: ReferenceKernel = (context) => {
  const options = context.attributes({
    case_change_action: attr.oneOf(['NONE', 'LOWER', 'UPPER'], 'NONE'),
    is_case_sensitive: attr.flag(false),
    stopwords: attr.optionalStrings(),
  });
  const { texts, tensor } = textsOf(context, 0);
  if (tensor.shape.length > 2 || (tensor.shape.length === 2 && tensor.shape[0] !== 1))
    context.fail('the input is neither [C] nor [1, C]');
  const folded = (text: string): string => (options.is_case_sensitive ? text : text.toLowerCase());
  const stops = new Set((options.stopwords ?? []).map(folded));
  const changed = (text: string): string => {
    if (options.case_change_action === 'NONE') return text;
    return options.case_change_action === 'LOWER' ? text.toLowerCase() : text.toUpperCase();
  };
  const kept = texts.filter((text) => !stops.has(folded(text))).map(changed);
  const out = kept.length === 0 ? [''] : kept;
  return [Tensor.from('string', [...tensor.shape.slice(0, -1), out.length], out)];
};

/** ONNX `StringConcat` (opset 20): joins two texts, broadcast. */
const stringConcat: ReferenceKernel = (context) => {
  const [left, right] = [textsOf(context, 0), textsOf(context, 1)];
  const shape = broadcastTwo(context, left.tensor, right.tensor);
  const size = context.guard('string', shape);
  const leftAt = broadcastWalk(left.tensor.shape, shape);
  const rightAt = broadcastWalk(right.tensor.shape, shape);
  const out = Array.from(
    { length: size },
    (_, index) => `${left.texts[leftAt?.[index] ?? index]}${right.texts[rightAt?.[index] ?? index]}`,
  );
  return [Tensor.from('string', shape, out)];
};

/** ONNX `StringSplit` (opset 20): parts of each text, filled up with empty ones, and their number. */
const stringSplit: ReferenceKernel = (context) => {
  const { delimiter, maxsplit } = context.attributes({
    delimiter: attr.optionalString(),
    maxsplit: attr.optionalInt(),
  });
  const { texts, tensor } = textsOf(context, 0);
  const parts = texts.map((text) => splitText(text, delimiter ?? '', maxsplit ?? Number.POSITIVE_INFINITY));
  const longest = parts.reduce((most, part) => Math.max(most, part.length), 0);
  const shape = [...tensor.shape, longest];
  context.guard('string', shape);
  const out = parts.flatMap((part) => [...part, ...new Array<string>(longest - part.length).fill('')]);
  return [
    Tensor.from('string', shape, out),
    int64Tensor(
      tensor.shape,
      parts.map((part) => part.length),
    ),
  ];
};

/** Parts of a text, split at most `limit` times; without delimiter at runs of white space. */
function splitText(text: string, delimiter: string, limit: number): string[] {
  const parts: string[] = [];
  let rest = delimiter === '' ? text.trimStart() : text;
  if (delimiter === '' && rest === '') return [];
  while (parts.length < limit) {
    const match = delimiter === '' ? /\s+/.exec(rest) : null;
    const at = delimiter === '' ? (match?.index ?? -1) : rest.indexOf(delimiter);
    if (at < 0) break;
    parts.push(rest.slice(0, at));
    rest = rest.slice(at + (match?.[0].length ?? delimiter.length));
    if (delimiter === '' && rest === '') return parts;
  }
  return [...parts, delimiter === '' ? rest.trimEnd() : rest];
}

/** ONNX `TfIdfVectorizer` (opset 9): counts n-grams of a pool in each row, with gaps of up to `max_skip_count`. */
const tfIdfVectorizer: ReferenceKernel = (context) => {
  const options = context.attributes({
    max_gram_length: attr.requiredInt(),
    max_skip_count: attr.requiredInt(),
    min_gram_length: attr.requiredInt(),
    mode: attr.oneOf(['TF', 'IDF', 'TFIDF'], 'TF'),
    ngram_counts: attr.requiredInts(),
    ngram_indexes: attr.requiredInts(),
    pool_int64s: attr.optionalInts(),
    pool_strings: attr.optionalStrings(),
    weights: attr.optionalFloats(),
  });
  const input = context.tensor(0);
  const pool: readonly (string | number)[] =
    options.pool_strings ?? options.pool_int64s ?? context.fail('there is no pool');
  const tokens: ArrayLike<string | number> =
    input.dtype === 'string' ? (input.data as unknown as readonly string[]) : input.toFloat64Array();
  const keyOf = (gram: readonly (string | number)[]): string => JSON.stringify(gram);
  // Grams of n tokens lie between ngram_counts[n - 1] and ngram_counts[n]; they are numbered through.
  const places = new Map<string, number>();
  let number = 0;
  options.ngram_counts.forEach((start, index) => {
    const end = options.ngram_counts[index + 1] ?? pool.length;
    if (start < 0 || end > pool.length)
      context.fail(`n-grams from ${start} to ${end} are outside a pool of ${pool.length}`);
    const length = index + 1;
    for (let at = start; at + length <= end; at += length, number++) {
      if (length >= options.min_gram_length && length <= options.max_gram_length)
        places.set(keyOf(pool.slice(at, at + length)), number);
    }
  });
  if (options.ngram_indexes.length < number)
    context.fail(`${options.ngram_indexes.length} indexes for ${number} n-grams`);
  const width = Math.max(0, ...options.ngram_indexes) + 1;
  const columns = input.shape.at(-1) ?? 1;
  const rows = input.shape.length === 2 ? input.shape[0]! : 1;
  const shape = input.shape.length === 2 ? [rows, width] : [width];
  const out = new Float64Array(context.guard('float32', shape));
  for (let row = 0; row < rows; row++) {
    const words = Array.from({ length: columns }, (_, index) => tokens[row * columns + index]!);
    for (const gram of gramsOf(words, options)) {
      const place = places.get(keyOf(gram));
      if (place === undefined) continue;
      const to = row * width + options.ngram_indexes[place]!;
      const weight = options.weights?.[place] ?? 1;
      if (options.mode === 'TF') out[to]! += 1;
      else if (options.mode === 'IDF') out[to] = weight;
      else out[to]! += weight;
    }
  }
  return [fromNumbers('float32', shape, out)];
};

function* gramsOf(
  words: readonly (string | number)[],
  {
    min_gram_length: least,
    max_gram_length: most,
    max_skip_count: skips,
  }: { readonly min_gram_length: number; readonly max_gram_length: number; readonly max_skip_count: number },
): IterableIterator<(string | number)[]> {
  for (let length = Math.max(1, least); length <= Math.min(most, words.length); length++) {
    // Single tokens have no gaps: they count once.
    const widest = length === 1 ? 0 : Math.min(skips, words.length);
    for (let skip = 0; skip <= widest; skip++) {
      const step = skip + 1;
      for (let start = 0; start + (length - 1) * step < words.length; start++) {
        yield Array.from({ length }, (_, index) => words[start + index * step]!);
      }
    }
  }
}

/** Texts: `ai.onnx`. */
export const textKernels: KernelTable = {
  StringConcat: stringConcat,
  StringNormalizer: stringNormalizer,
  StringSplit: stringSplit,
  TfIdfVectorizer: tfIdfVectorizer,
};
