import {
  attributesOf,
  byteLengthOf,
  type CostContext,
  constantOf,
  type Dim,
  elementsOf,
  evaluateDim,
  type Model,
  type Node,
  symbolsOf,
  type TensorSource,
  type Value,
} from '@lithe/core';
import type { AxisModel } from './axis-model.ts';

/** What a model costs, or what a cut saves. */
export interface Cost {
  /** Elements of constants. */
  readonly parameters: number;
  /** Bytes of those. */
  readonly bytes: number;
  /** Multiply-accumulates of one run. */
  readonly macs: number;
}

/** The shape of each value that is cut, after the cut. */
export type ShapesAfter = ReadonlyMap<Value, readonly Dim[]>;

/** Size that a symbol stands for along any axis but the first of an input. */
const DEFAULT_SIZE = 64;

/**
 * Sizes for the symbols of a model's inputs, to count multiplications with: 1 along the first axis of an input (the
 * batch), 64 elsewhere, unless they are given.
 */
export function symbolSizes(
  model: Model,
  given: Readonly<Record<string, number>> = {},
): Readonly<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const { shape = [] } of model.graph.inputs) {
    shape.forEach((dim, axis) => {
      for (const symbol of symbolsOf(dim)) sizes[symbol] ??= axis === 0 ? 1 : DEFAULT_SIZE;
    });
  }
  return { ...sizes, ...given };
}

/** Counts what a model costs under a cut, without making it. */
export class CutCost {
  readonly #axes: AxisModel;
  readonly #dims: Readonly<Record<string, number>>;
  readonly #macs = new Map<Node, number>();
  /** How many values hold the same constant: what is cut of one of them is no longer shared. */
  readonly #holders = new Map<TensorSource, number>();
  /** What the model costs as it is: a constant that several values hold counts once. */
  readonly total: Cost;

  constructor(axes: AxisModel, dims: Readonly<Record<string, number>>) {
    this.#axes = axes;
    this.#dims = symbolSizes(axes.model, dims);
    const hold = (source: TensorSource | undefined): void => {
      if (source !== undefined) this.#holders.set(source, (this.#holders.get(source) ?? 0) + 1);
    };
    let macs = 0;
    for (const node of axes.graph.nodes()) {
      hold(node.constantSource());
      const own = this.#count(node, new Map());
      this.#macs.set(node, own);
      macs += own;
    }
    for (const { initializer } of axes.graph.initializers) hold(initializer);
    let [parameters, bytes] = [0, 0];
    for (const { shape, byteLength } of this.#holders.keys()) {
      parameters += elementsOf(shape);
      bytes += byteLength;
    }
    this.total = { parameters, bytes, macs };
  }

  #count(node: Node, after: ShapesAfter): number {
    const def = this.#axes.opset.of(node);
    if (def?.macs === undefined) return 0;
    const shapeOf = (value: Value | null | undefined): readonly number[] | undefined => {
      if (value === null || value === undefined) return undefined;
      const shape = after.get(value) ?? constantOf(value)?.shape ?? value.shape;
      const sizes = shape?.map((dim) => evaluateDim(dim, this.#dims));
      return sizes?.includes(undefined) === true ? undefined : (sizes as readonly number[] | undefined);
    };
    // The hidden size of a recurrent layer is an attribute that a cut changes; the weights say it too.
    const attributes = {
      ...(attributesOf(node, def) as Readonly<Record<string, unknown>>),
      hidden_size: undefined,
    };
    const context: CostContext<unknown> = {
      node,
      attributes,
      inputShape: (index) => shapeOf(node.inputs[index]),
      outputShape: (index) => shapeOf(node.outputs[index]),
    };
    return def.macs(context as CostContext<never>);
  }

  /** Multiply-accumulates of a node as it is. */
  macsOf(node: Node): number {
    return this.#macs.get(node) ?? 0;
  }

  /** What is saved when values get these shapes; below 0 where a shared constant becomes several. */
  saved(after: ShapesAfter): Cost {
    let [parameters, bytes, macs] = [0, 0, 0];
    const touched = new Set<Node>();
    const cut = new Map<TensorSource, number>();
    for (const [value, shape] of after) {
      const source = constantOf(value);
      if (source !== undefined) {
        const left = elementsOf(shape as readonly number[]);
        parameters -= left;
        bytes -= byteLengthOf(source.dtype, left);
        cut.set(source, (cut.get(source) ?? 0) + 1);
      }
      if (value.producer !== null) touched.add(value.producer);
      for (const { node } of value.uses) touched.add(node);
    }
    for (const [source, holders] of cut) {
      if (holders < (this.#holders.get(source) ?? holders)) continue;
      parameters += elementsOf(source.shape);
      bytes += source.byteLength;
    }
    for (const node of touched) {
      const before = this.#macs.get(node);
      if (before !== undefined && before > 0) macs += before - this.#count(node, after);
    }
    return { parameters, bytes, macs };
  }
}
