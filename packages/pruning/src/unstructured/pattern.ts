import { errors } from '@lithe/core';

/**
 * Where zeros may lie: anywhere, at least `M - N` in each `M` neighbours along the inputs (`2:4` keeps two of four), or in
 * blocks of outputs by inputs (`4x1`).
 */
export type SparsityPattern = 'unstructured' | `${number}:${number}` | `${number}x${number}`;

/** A {@link SparsityPattern}, read. */
export type ParsedPattern =
  | {
      /** Tag. */
      readonly kind: 'blocks';
      /** Outputs of a block. */
      readonly rows: number;
      /** Inputs of a block. */
      readonly columns: number;
    }
  | {
      /** Tag. */
      readonly kind: 'n:m';
      /** Weights that stay in a group. */
      readonly kept: number;
      /** Weights of a group, along the inputs. */
      readonly of: number;
    };

/** Largest group and block side: what no hardware comes near. */
const LARGEST = 4096;

/**
 * Reads a pattern. Single weights are blocks of 1 by 1.
 *
 * @throws {LitheError} OPTIONS_INVALID when it is no pattern
 */
export function parsePattern(pattern: SparsityPattern): ParsedPattern {
  if (pattern === 'unstructured') return { kind: 'blocks', rows: 1, columns: 1 };
  const [, left, sign, right] = /^(\d{1,4})([:x])(\d{1,4})$/.exec(pattern) ?? [];
  const [first, second] = [Number(left), Number(right)];
  const fits = first >= 1 && second >= 1 && first <= LARGEST && second <= LARGEST;
  if (fits && sign === 'x') return { kind: 'blocks', rows: first, columns: second };
  if (fits && sign === ':' && first < second) return { kind: 'n:m', kept: first, of: second };
  throw errors.optionsInvalid(
    'sparsity pattern',
    [`"${pattern}" is neither "unstructured", nor N:M with N below M, nor a block such as "4x1".`],
    'Write "2:4" to keep two of four neighbours, "4x1" for blocks of four outputs.',
  );
}
