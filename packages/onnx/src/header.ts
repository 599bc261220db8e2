import type { Model } from '@lithe/core';

/** The parts of a model outside its graphs, as one text to compare: they can change without a new revision. */
export function headerOf(model: Model): string {
  return JSON.stringify([
    model.producerName,
    model.producerVersion,
    model.domain,
    String(model.modelVersion),
    model.docString ?? null,
    [...model.props],
    [...model.opsetImports],
    model.functions.map(({ domain, name, overload, docString, props }) => [
      domain,
      name,
      overload,
      docString ?? null,
      [...props],
    ]),
  ]);
}
