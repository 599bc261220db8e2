import { type Feeds, type Model, printModel } from '@lithe/core';
import { contentHash } from '@lithe/training';

/** A text that differs between models of other structure or weights, and between other samples. */
export async function identityOf(model: Model, samples: Feeds, rest: string): Promise<string> {
  const hash = contentHash();
  const encoder = new TextEncoder();
  hash.add(encoder.encode(printModel(model)));
  for (const value of model.graph.values()) {
    const source = value.initializer ?? value.producer?.constantSource();
    if (source === undefined || source.dtype === 'string') continue;
    hash.add(encoder.encode(value.name));
    hash.add((await source.load()).bytes);
  }
  for (const [name, tensor] of Object.entries(samples)) {
    hash.add(encoder.encode(name));
    if (tensor.dtype !== 'string') hash.add(tensor.bytes);
  }
  hash.add(encoder.encode(rest));
  return hash.text();
}
