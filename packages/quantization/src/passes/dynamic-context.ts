import type { Graph, TensorSource, Value } from '@lithe/core';
import type { Inserter } from '../graph/replace-node.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import type { SharedWeights } from '../weights/shared.ts';

/** An activation as unsigned 8-bit integers, made once however many nodes read it. */
export interface QuantizedActivation {
  /** The integers. */
  readonly values: Value;
  /** Scale, a scalar. */
  readonly scale: Value;
  /** Zero point, a scalar. */
  readonly zeroPoint: Value;
}

/** A weight as integers, as graph values. */
export interface QuantizedConstant {
  /** The integers. */
  readonly values: Value;
  /** Scales. */
  readonly scales: Value;
  /** Zero points. */
  readonly zeroPoints: Value;
}

/** A table as rows of integers, as graph values. */
export interface QuantizedTable {
  /** The integers `[rows, columns]`. */
  readonly values: Value;
  /** A scale for each row `[rows, 1]`. */
  readonly scales: Value;
}

/** How the matrix of a product becomes integers. */
export interface ProductForm {
  /** Integers it may take: symmetric around 0 when signed, with zero points otherwise. */
  readonly range: IntegerRange;
  /** Whether each column has a scale. */
  readonly perColumn: boolean;
}

/** What the rewriting of one model shares. */
export interface DynamicContext {
  /** Integers that signed weights may take: of recurrent nodes and tables. */
  readonly range: IntegerRange;
  /** How matrices become integers. */
  readonly product: ProductForm;
  /** Weights with fewer elements stay float. */
  readonly minimumElements: number;
  /** Quantized activations, by graph: a subgraph may run or not, so each graph has its own. */
  readonly activations: Map<Graph, Map<Value, QuantizedActivation>>;
  /** Quantized weights. */
  readonly weights: SharedWeights<QuantizedConstant>;
  /** Quantized tables. */
  readonly tables: SharedWeights<QuantizedTable>;
}

/** The quantized form of an activation, shared by the nodes of a graph that read it. */
export function quantizeActivation(
  insert: Inserter,
  input: Value,
  context: DynamicContext,
): QuantizedActivation {
  let known = context.activations.get(insert.graph);
  if (known === undefined) {
    known = new Map();
    context.activations.set(insert.graph, known);
  }
  let made = known.get(input);
  if (made === undefined) {
    const { graph } = insert;
    const suffixes = ['quantized', 'scale', 'zero_point'];
    const outputs = suffixes.map((suffix) => ({ name: graph.uniqueName(`${input.name}_${suffix}`) }));
    const [values, scale, zeroPoint] = insert.node('DynamicQuantizeLinear', [input], { outputs });
    made = { values: values!, scale: scale!, zeroPoint: zeroPoint! };
    known.set(input, made);
  }
  return made;
}

/** Adds the parts of a quantized weight beside the weight itself. */
export function addConstant(
  weight: Value,
  parts: Readonly<Record<'values' | 'scales' | 'zeroPoints', TensorSource>>,
): QuantizedConstant {
  const { graph, name } = weight;
  const add = (suffix: string, source: TensorSource): Value =>
    graph.addInitializer(graph.uniqueName(`${name}_${suffix}`), source);
  return {
    values: add('quantized', parts.values),
    scales: add('scale', parts.scales),
    zeroPoints: add('zero_point', parts.zeroPoints),
  };
}
