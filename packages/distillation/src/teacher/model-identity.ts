import { type Feeds, type Model, printModel } from '@lithe/core';

/** FNV-1a (Fowler, Noll and Vo) in two lanes of 32 bits: tells models apart, is no defence. */
function fnv(): { add(bytes: Uint8Array): void; text(): string } {
  let [left, right] = [0x811c9dc5, 0x9747b28c];
  return {
    add: (bytes) => {
      for (let index = 0; index < bytes.length; index++) {
        left = Math.imul(left ^ bytes[index]!, 0x01000193);
        right = Math.imul(right ^ bytes[index]!, 0x01000197);
      }
    },
    text: () => `${(left >>> 0).toString(16).padStart(8, '0')}${(right >>> 0).toString(16).padStart(8, '0')}`,
  };
}

/** A text that differs between models of other structure or weights, and between other samples. */
export async function identityOf(model: Model, samples: Feeds, rest: string): Promise<string> {
  const hash = fnv();
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
