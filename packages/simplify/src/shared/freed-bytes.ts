import {
  byteLengthOf,
  constantOf,
  elementsOf,
  isStaticShape,
  type Node,
  type RewriteContext,
  type TensorSource,
  type Value,
} from '@lithe/core';
import { attributeKey } from '../passes/clean-up.ts';
import { TINY_BYTES } from '../passes/deduplicate.ts';

/** Operators that only take parts of a tensor or move them: folding all that read a constant frees it. */
const parts: ReadonlySet<string> = new Set([
  'Slice',
  'Gather',
  'Split',
  'Squeeze',
  'Unsqueeze',
  'Reshape',
  'Transpose',
]);

/** Most readers of a constant that are looked at, which bounds the work per reader. */
const MAX_READERS = 64;

/** Larger operands than this are not compared. */
const MAX_OPERAND_BYTES = 1024;

/** Most bytes that equal parts may take together: each is held in memory until equal constants are merged. */
const MAX_TWIN_BYTES = 256 * 1024 * 1024;

/** Contents of small operands as texts, kept so that each is loaded once. */
export type OperandTexts = WeakMap<TensorSource, string>;

/**
 * Bytes of the constants that nothing but this node reads, and of this node's part of those that are split up wholly.
 *
 * Readers that take the same part count once, in sibling branches too: their results are equal constants, which
 * become one afterwards.
 *
 * @param growthBytes bytes that the parts of a constant may take beyond it
 * @param texts what is known of operands already; added to
 */
export async function freedBytes(
  node: Node,
  growthBytes: number,
  context: RewriteContext,
  texts: OperandTexts,
): Promise<number> {
  let bytes = 0;
  for (const input of new Set(node.inputs)) {
    const source = constantOf(input);
    if (input === null || source === undefined || input.outputOf.length > 0) continue;
    const readers = new Set(input.uses.map((use) => use.node));
    if (readers.size === 1) bytes += source.byteLength;
    else if (readers.size <= MAX_READERS && parts.has(node.opType)) {
      const limit = source.byteLength + growthBytes;
      if (await fits(readers, input, limit, context, texts)) bytes += expectedBytes(node) ?? 0;
    }
  }
  return bytes;
}

/** Whether all readers take parts of a constant that together need no more than `limit` bytes. */
async function fits(
  readers: ReadonlySet<Node>,
  whole: Value,
  limit: number,
  context: RewriteContext,
  texts: OperandTexts,
): Promise<boolean> {
  let total = 0;
  for (const reader of readers)
    total += (isPart(reader, whole) ? expectedBytes(reader) : undefined) ?? Infinity;
  if (total <= limit) return true;
  if (total > MAX_TWIN_BYTES) return false;
  const seen = new Set<string>();
  let distinct = 0;
  for (const reader of readers) {
    const key = await partKey(reader, context, texts);
    if (key !== undefined && seen.has(key)) continue;
    if (key !== undefined) seen.add(key);
    distinct += expectedBytes(reader) ?? Infinity;
  }
  return distinct <= limit;
}

/** What a reader takes, as a text that is equal for equal parts; `undefined` where equal results stay apart. */
async function partKey(
  node: Node,
  context: RewriteContext,
  texts: OperandTexts,
): Promise<string | undefined> {
  for (const output of node.outputs) {
    if (output.dtype === undefined || !isStaticShape(output.shape) || output.outputOf.length > 0)
      return undefined;
    if (byteLengthOf(output.dtype, elementsOf(output.shape)) <= TINY_BYTES) return undefined;
  }
  const taken = [node.op, String(node.outputs.length)];
  for (const [name, item] of [...node.attributes].sort(([left], [right]) => (left < right ? -1 : 1))) {
    const text = item.kind === 'tensor' ? undefined : attributeKey(item, () => 0);
    if (text === undefined) return undefined;
    taken.push(`${name}=${text}`);
  }
  for (const input of node.inputs.slice(1)) {
    const text = input === null ? '_' : await operandText(input, context, texts);
    if (text === undefined) return undefined;
    taken.push(text);
  }
  return taken.join('|');
}

async function operandText(
  value: Value,
  context: RewriteContext,
  texts: OperandTexts,
): Promise<string | undefined> {
  const source = constantOf(value);
  if (source === undefined || source.byteLength > MAX_OPERAND_BYTES || source.dtype === 'string')
    return undefined;
  const known = texts.get(source);
  if (known !== undefined) return known;
  const { bytes } = await context.load(value);
  const text = `${source.dtype}[${source.shape.join()}]${bytes.join()}`;
  texts.set(source, text);
  return text;
}

function isPart(node: Node, whole: Value): boolean {
  if (!parts.has(node.opType) || node.domain !== '' || node.input(0) !== whole) return false;
  return node.inputs.every((input) => input === null || constantOf(input) !== undefined);
}

/** Bytes of a node's results, or `undefined` where their sizes are not known. */
export function expectedBytes(node: Node): number | undefined {
  let bytes = 0;
  for (const output of node.outputs) {
    if (output.dtype === undefined || !isStaticShape(output.shape)) return undefined;
    bytes += byteLengthOf(output.dtype, elementsOf(output.shape));
  }
  return bytes;
}
