/** Splits texts into the entries of a vocabulary, as BERT's uncased models were trained with. */
export interface WordPiece {
  /** Token numbers of a text, `[CLS]` first and `[SEP]` last, at most `limit`. */
  encode(text: string, limit: number): readonly number[];
}

const longestWord = 100;

function entry(vocabulary: ReadonlyMap<string, number>, token: string): number {
  const found = vocabulary.get(token);
  if (found === undefined) throw new Error(`The vocabulary lacks ${token}.`);
  return found;
}

/** Lower case without accents, in words: runs of letters and digits, and each other mark by itself. */
function* wordsOf(text: string): IterableIterator<string> {
  const plain = text
    .toLowerCase()
    .normalize('NFD')
    .replaceAll(/\p{Mn}/gu, '')
    .replaceAll(/(?!\s)[\p{C}\ufffd]/gu, '');
  // Ideographs, punctuation and the ASCII symbols are words of their own.
  for (const [word] of plain.matchAll(
    /[\p{Script=Han}\p{P}$+<=>^`|~]|[^\s\p{C}\p{Script=Han}\p{P}$+<=>^`|~]+/gu,
  ))
    yield word;
}

/**
 * The greedy WordPiece of BERT: the longest entry that starts the word, then the longest `##` entry that goes on.
 *
 * @param lines the vocabulary, one entry a line
 * @see Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019; Wu et al., "Google's Neural
 *   Machine Translation System", 2016, section 4.1
 */
export function wordPiece(lines: string): WordPiece {
  const vocabulary = new Map(lines.split(/\r?\n/u).map((token, index) => [token, index]));
  const [unknown, start, end] = ['[UNK]', '[CLS]', '[SEP]'].map((token) => entry(vocabulary, token)) as [
    number,
    number,
    number,
  ];
  const cache = new Map<string, readonly number[]>();
  const pieces = (word: string): readonly number[] => {
    const characters = [...word];
    if (characters.length > longestWord) return [unknown];
    const found: number[] = [];
    for (let from = 0; from < characters.length; ) {
      let to = characters.length;
      let piece: number | undefined;
      for (; to > from && piece === undefined; to--) {
        const part = characters.slice(from, to).join('');
        piece = vocabulary.get(from === 0 ? part : `##${part}`);
      }
      if (piece === undefined) return [unknown];
      found.push(piece);
      from = to + 1;
    }
    return found;
  };
  return {
    encode: (text, limit) => {
      const tokens = [start];
      for (const word of wordsOf(text)) {
        let made = cache.get(word);
        if (made === undefined) {
          made = pieces(word);
          cache.set(word, made);
        }
        tokens.push(...made);
        if (tokens.length >= limit) break;
      }
      tokens.length = Math.min(tokens.length, limit - 1);
      return [...tokens, end];
    },
  };
}
