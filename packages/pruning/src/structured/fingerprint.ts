import { type Attribute, constantOf, type Model, type TensorSource, type Value } from '@lithe/core';
import type { Removal } from './pruning-group.ts';

/** FNV-1a over bytes, 32 bits, started anywhere. */
function hashBytes(bytes: Uint8Array, start: number): number {
  let state = start;
  for (let index = 0; index < bytes.length; index++) state = Math.imul(state ^ bytes[index]!, 0x01000193);
  return state >>> 0;
}

const encoder = new TextEncoder();

/** A text of 8 hexadecimal digits for any text. */
export function hashText(text: string): string {
  return hashBytes(encoder.encode(text), 0x811c9dc5).toString(16).padStart(8, '0');
}

/** A number or a text of an attribute; what holds tensors and graphs is left to what they are made of. */
function attributeText(name: string, value: Attribute): string {
  switch (value.kind) {
    case 'int':
    case 'float':
    case 'string':
      return `${name}=${value.value}`;
    case 'ints':
    case 'floats':
    case 'strings':
      return `${name}=${value.value.join()}`;
    default:
      return name;
  }
}

/**
 * What tells a model from another: the nodes of its main graph with their numbers and texts, the shapes of inputs and
 * constants, and all weights, as 8 hexadecimal digits. Reads every weight once.
 */
export async function fingerprint(model: Model, signal: AbortSignal): Promise<string> {
  const { graph } = model;
  const text: string[] = [];
  const sources: TensorSource[] = [];
  const add = (value: Value): void => {
    const source = constantOf(value);
    if (source === undefined) return;
    text.push(`${source.dtype}[${source.shape.join()}]`);
    sources.push(source);
  };
  for (const { name, dtype, shape } of graph.inputs) text.push(`${name} ${dtype}[${shape?.join()}]`);
  for (const value of graph.initializers) {
    text.push(value.name);
    add(value);
  }
  for (const node of graph.nodes()) {
    text.push(
      node.op,
      ...node.inputs.map((input) => input?.name ?? ''),
      ...node.outputs.map(({ name }) => name),
      ...[...node.attributes].map(([name, value]) => attributeText(name, value)),
    );
    if (node.is('Constant')) add(node.output());
  }
  let state = Number.parseInt(hashText(text.join('\n')), 16);
  for (const source of sources) {
    signal.throwIfAborted();
    if (source.dtype !== 'string') state = hashBytes((await source.load(signal)).bytes, state);
  }
  return state.toString(16).padStart(8, '0');
}

/** What tells a set of removals from another. */
export function removalsKey(removals: readonly Removal[]): string {
  return hashText(removals.map(({ group, units }) => `${group.name}:${units.join()}`).join(';'));
}
