import type { Rng } from '../context/rng.ts';
import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import type { AttributeSpecs, AttributesOf } from '../op/attributes.ts';
import type { DType } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';

/** A sequence of values, as `SequenceConstruct` makes them. */
export interface SequenceValue {
  /** Tag. */
  readonly kind: 'sequence';
  /** What it holds, in order. */
  readonly items: readonly ReferenceValue[];
}

/** A value that may be absent, as `Optional` makes it. */
export interface OptionalValue {
  /** Tag. */
  readonly kind: 'optional';
  /** What it holds; `null` when it is absent. */
  readonly value: ReferenceValue | null;
}

/** Whatever a value of a graph may hold at run time. */
export type ReferenceValue = Tensor | SequenceValue | OptionalValue;

/** What a kernel sees of the node it computes, and what it may use. */
export interface KernelContext {
  /** The node. */
  readonly node: Node;
  /** What the node reads; `null` where an optional input is left out. */
  readonly inputs: readonly (ReferenceValue | null)[];
  /** Number of outputs that the node lists; those left out at the end need not be computed. */
  readonly outputCount: number;
  /** The opset of `ai.onnx` in which the node is written. Kernels are those of the working opset. */
  readonly opset: number;
  /** Seeded randomness, for operators that draw numbers. */
  readonly rng: Rng;
  /** Tensor input `index`, which must be there. */
  tensor(index: number): Tensor;
  /** Tensor input `index`, or `undefined` where it is left out. */
  optional(index: number): Tensor | undefined;
  /** Input `index` of any kind, which must be there. */
  value(index: number): ReferenceValue;
  /** Whether output `index` is listed under a name. */
  wants(index: number): boolean;
  /** The attributes, defaults applied. */
  attributes<S extends AttributeSpecs>(specs: S): AttributesOf<S>;
  /** The tensor in attribute `name`, loaded; `undefined` where it is left out. */
  attributeTensor(name: string): Tensor | undefined;
  /** Runs a subgraph of the node on these values. */
  run(graph: Graph, inputs: readonly (ReferenceValue | null)[]): readonly (ReferenceValue | null)[];
  /**
   * Checks that an output of this shape may be made, before anything is allocated for it.
   *
   * @returns its number of elements
   * @throws {LitheError} LIMIT_EXCEEDED when it would be larger than the limit
   */
  guard(dtype: DType, shape: readonly number[]): number;
  /** Reports that the inputs do not fit the operator: one clause without a full stop. */
  fail(problem: string): never;
  /** Reports that the operator is not computed for a dtype. */
  wrongType(dtype: DType, supported: readonly string[]): never;
}

/** Computes the outputs of a node. Pure: inputs are never written. */
export type ReferenceKernel = (context: KernelContext) => readonly (ReferenceValue | null)[];

/** Kernels by operator: `Conv`, `com.microsoft.MatMulNBits`. */
export type KernelTable = Readonly<Record<string, ReferenceKernel>>;

/** Whether a value is a tensor. */
export function isTensor(value: ReferenceValue | null | undefined): value is Tensor {
  return value instanceof Tensor;
}
