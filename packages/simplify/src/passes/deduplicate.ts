import {
  constantOf,
  type Graph,
  type ReportBuilder,
  type Tensor,
  type TensorSource,
  type Value,
} from '@lithe/core';

/** A 53-bit hash of bytes (two 32-bit multiply-xor lanes); equality is checked on the bytes themselves. */
function hashBytes(raw: Uint8Array): string {
  // Words need alignment, and the same contents must hash alike wherever they lie. (The slice() of a Buffer is no copy.)
  const bytes = raw.byteOffset % 4 === 0 ? raw : new Uint8Array(raw);
  let low = 0x9dc5 ^ bytes.length;
  let high = 0x811c ^ bytes.length;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  const wordCount = words.length;
  for (let index = 0; index < wordCount; index++) {
    const word = words[index]!;
    low = Math.imul(low ^ word, 0x85ebca77);
    high = Math.imul(high ^ word, 0xc2b2ae3d);
    low ^= high >>> 15;
    high ^= low >>> 13;
  }
  for (let index = wordCount * 4; index < bytes.length; index++) {
    low = Math.imul(low ^ bytes[index]!, 0x85ebca77);
    high = Math.imul(high ^ bytes[index]!, 0xc2b2ae3d);
    low ^= high >>> 15;
  }
  return `${(low >>> 0).toString(16)}:${(high >>> 0).toString(16)}`;
}

function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false;
  return true;
}

function contentKey(tensor: Tensor): string {
  return tensor.dtype === 'string' ? JSON.stringify(tensor.data) : hashBytes(tensor.bytes);
}

function equal(left: Tensor, right: Tensor): boolean {
  if (left.dtype === 'string') return JSON.stringify(left.data) === JSON.stringify(right.data);
  return equalBytes(left.bytes, right.bytes);
}

/** The constants of one graph in the order of their first place, with those no edit may merge left out. */
function constantsOf(graph: Graph): readonly Value[] {
  const found: Value[] = [];
  for (const value of graph.initializers) if (constantOf(value) !== undefined) found.push(value);
  for (const node of graph.nodes()) if (node.constantSource() !== undefined) found.push(node.output());
  return found;
}

/**
 * Constants up to this size are left as they are: they save nothing, and those that stand for attributes of older
 * opsets (axes, bounds, pads) are written as attributes and come back one per node.
 */
export const TINY_BYTES = 64;

/** What tiny constants hold, as texts that are equal when the constants are. */
export async function tinyContents(graph: Graph, signal: AbortSignal): Promise<ReadonlyMap<Value, string>> {
  const found = new Map<Value, string>();
  const visit = async (inner: Graph): Promise<void> => {
    for (const value of constantsOf(inner)) {
      const source = constantOf(value) as TensorSource;
      if (source.byteLength > TINY_BYTES || source.dtype === 'string') continue;
      const { bytes } = await source.load(signal);
      found.set(value, `${source.dtype}[${source.shape.join()}]${bytes.join()}`);
    }
    for (const node of inner.nodes()) for (const [, deeper] of node.subgraphs) await visit(deeper);
  };
  await visit(graph);
  return found;
}

/** Content keys of constants that were loaded once, kept between runs: large models are read once, not once a run. */
export type ContentKeys = WeakMap<TensorSource, string>;

/** Constants that hold the same, and the one that others are merged into. */
interface Twins {
  readonly source: TensorSource;
  home: Value;
}

/**
 * Merges constants of equal dtype, shape and contents. Tiny ones are left. Those of different subgraphs become one in
 * the nearest graph around both. Only constants that share dtype and shape with another are loaded, one at a time,
 * and each once.
 *
 * @param keys what is known of contents already; added to
 */
export async function deduplicateConstants(
  graph: Graph,
  report: ReportBuilder,
  signal: AbortSignal,
  keys: ContentKeys,
): Promise<void> {
  const groups = new Map<string, Value[]>();
  for (const value of constantsDeep(graph)) {
    const source = constantOf(value) as TensorSource;
    if (source.byteLength <= TINY_BYTES) continue;
    const key = `${source.dtype}[${source.shape.join()}]`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  for (const group of groups.values()) {
    if (group.length < 2) continue;
    const byContent = new Map<string, Twins[]>();
    for (const value of group) {
      signal.throwIfAborted();
      const source = constantOf(value) as TensorSource;
      const key = keys.get(source) ?? contentKey(await source.load(signal));
      keys.set(source, key);
      const same = byContent.get(key) ?? [];
      byContent.set(key, same);
      const twins = await findTwins(same, source, signal);
      if (twins === undefined) same.push({ source, home: value });
      else merge(value, twins, report);
    }
  }
}

/** The constants of a graph and its subgraphs: before each, those that it sees. */
function* constantsDeep(graph: Graph): IterableIterator<Value> {
  for (const value of graph.initializers) if (constantOf(value) !== undefined) yield value;
  for (const node of graph.nodes()) {
    if (node.constantSource() !== undefined) yield node.output();
    for (const [, inner] of node.subgraphs) yield* constantsDeep(inner);
  }
}

/** The constants among those of equal key that really hold the same. */
async function findTwins(
  same: readonly Twins[],
  source: TensorSource,
  signal: AbortSignal,
): Promise<Twins | undefined> {
  for (const twins of same) {
    const other = twins.source;
    if (other === source || equal(await other.load(signal), await source.load(signal))) return twins;
  }
  return undefined;
}

function merge(value: Value, twins: Twins, report: ReportBuilder): void {
  if (value.outputOf.length > 0) return;
  const { name } = value;
  const around = commonGraph(value.graph, twins.home.graph);
  if (around !== twins.home.graph) {
    if (twins.home.outputOf.length > 0) {
      twins.home = value;
      return;
    }
    twins.home = moveTo(around, twins);
  }
  substitute(value, twins.home);
  report.apply(`merge constant "${name}" into "${twins.home.name}", which is equal`);
}

/** Moves the home of equal constants to a graph around it, where it keeps its name. */
function moveTo(graph: Graph, { home, source }: Twins): Value {
  const { name } = home;
  const moved = graph.addInitializer(graph.uniqueName(name), source);
  substitute(home, moved);
  graph.rename(moved, graph.uniqueName(name));
  return moved;
}

function substitute(value: Value, by: Value): void {
  const { graph, producer } = value;
  graph.replaceAllUses(value, by);
  if (producer === null) graph.removeValue(value);
  else graph.remove(producer);
}

/** The innermost graph that is, or is around, both. */
function commonGraph(left: Graph, right: Graph): Graph {
  const around = new Set<Graph>();
  for (let graph: Graph | null = left; graph !== null; graph = graph.parent) around.add(graph);
  let common = right;
  while (!around.has(common) && common.parent !== null) common = common.parent;
  return common;
}
