import {
  constantOf,
  elementsOf,
  type Graph,
  isFloat,
  type Model,
  type ReportBuilder,
  type TensorSource,
  type Use,
  type Value,
} from '@lithe/core';

/** A float32 constant of a model. */
export interface FloatWeight {
  /** The value that holds it: an initializer, or the output of a `Constant` node. */
  readonly value: Value;
  /** Its elements. */
  readonly source: TensorSource;
  /** What reads it. */
  readonly uses: readonly Use[];
}

function* constantsOf(graph: Graph): IterableIterator<Value> {
  yield* graph.initializers;
  for (const node of graph.nodes()) {
    if (node.is('Constant')) yield node.output();
    for (const [, inner] of node.subgraphs) yield* constantsOf(inner);
  }
}

/**
 * The float32 constants of a model, subgraphs included, of at least `minimumElements` elements. What holds floats and
 * cannot be replaced is reported as skipped; smaller constants are not mentioned, since no format is meant for them.
 */
export function findWeights(
  model: Model,
  minimumElements: number,
  report: ReportBuilder,
): readonly FloatWeight[] {
  const found: FloatWeight[] = [];
  for (const value of constantsOf(model.graph)) {
    const source = constantOf(value) ?? value.initializer;
    if (source === undefined || !isFloat(source.dtype) || elementsOf(source.shape) < minimumElements)
      continue;
    if (value.isUnused) continue;
    if (value.isGraphInput)
      report.skip(value.name, 'overridable', 'it is a graph input that a caller may override');
    else if (value.outputOf.length > 0) report.skip(value.name, 'graph-output', 'it is an output of a graph');
    else if (source.dtype !== 'float32')
      report.skip(value.name, 'not-float32', `its elements are ${source.dtype}`);
    else found.push({ value, source, uses: value.uses });
  }
  for (const item of model.functions) {
    for (const value of constantsOf(item.graph)) {
      const source = constantOf(value);
      if (source !== undefined && isFloat(source.dtype) && elementsOf(source.shape) >= minimumElements) {
        report.skip(value.name, 'local-function', `it is in the body of the local function "${item.name}"`);
      }
    }
  }
  return found;
}
