import type { Attribute } from '../ir/attribute.ts';
import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import type { Dim, ValueType } from '../ir/types.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor, TensorSource } from '../tensor/tensor.ts';
import { type AttributeSpecs, type AttributesOf, readAttributes } from './attributes.ts';

/** One formal input or output of an operator. */
export interface ParameterSpec {
  /** Name in the operator's specification. */
  readonly name: string;
  /** Dtypes it takes; inputs that share a type variable name the same `variable`. Empty: any type at all. */
  readonly dtypes: readonly DType[];
  /** Type variable (`T`, `T1`, …): all parameters with it have one dtype in a node, unless `variadic` says otherwise. */
  readonly variable?: string | undefined;
  /** Whether it may be left out. */
  readonly optional?: boolean | undefined;
  /** Whether it stands for any number of values (last parameter only): of one dtype, or each of its own. */
  readonly variadic?: 'same' | 'any' | undefined;
}

/** How {@link InferContext.subgraph} works. */
export interface SubgraphOptions {
  /**
   * Whether the subgraph is run: `always` (the default); `maybe`, so that a contradiction in it is reported rather
   * than thrown, for it may be guarded against; or `never`, where contradictions do not matter.
   */
  readonly run?: 'always' | 'maybe' | 'never' | undefined;
}

/**
 * What an operator's shape rule sees and sets. Rules are synchronous; small constants were loaded before. What is
 * not known is `undefined`, and a rule then leaves what depends on it unknown: it never guesses.
 */
export interface InferContext<A = Readonly<Record<string, unknown>>> {
  /** The node. */
  readonly node: Node;
  /** Its attributes, defaults applied. */
  readonly attributes: A;
  /** An attribute as it stands in the file, references to attributes of an enclosing function resolved. */
  attribute(name: string): Attribute | undefined;
  /** The tensor of an attribute or constant, if it was small enough to have been loaded. */
  loaded(source: TensorSource | undefined): Tensor | undefined;
  /** Number of inputs in the node's list. */
  readonly inputCount: number;
  /** Number of outputs in the node's list. */
  readonly outputCount: number;
  /** Whether input `index` is there. */
  has(index: number): boolean;
  /** Type of input `index`. */
  type(index: number): ValueType | undefined;
  /** Element type of input `index`. */
  dtype(index: number): DType | undefined;
  /** Dims of input `index`. */
  shape(index: number): readonly Dim[] | undefined;
  /** Contents of input `index`, if it is a constant small enough to have been loaded (at most 4,096 elements), or a folded one. */
  constant(index: number): Tensor | undefined;
  /**
   * What is known of the elements of an integer input that carries sizes (a `Shape` result, a `Reshape` target),
   * row-major; a scalar has one entry. `undefined` when nothing is known. Known elements of other numeric inputs are
   * given as well (bool as 0 and 1), so float inputs may hold fractions. Numbers beyond the safe integers stand for
   * "as far as it goes" (`INT64_MAX` as the end of a slice).
   */
  sizes(index: number): readonly Dim[] | undefined;
  /**
   * Sets dtype and dims of output `index`. A dtype of `undefined` means what the operator's table says: the dtype bound
   * to the output's type variable, or its only dtype. Does nothing where the node leaves the output out.
   */
  output(index: number, dtype: DType | undefined, shape: readonly Dim[] | undefined): void;
  /** Sets a type that is not a plain tensor. */
  outputType(index: number, type: ValueType | undefined): void;
  /** Tells what is known of the elements of output `index`, row-major. */
  outputSizes(index: number, sizes: readonly Dim[]): void;
  /** A new symbol for a size that depends on data (`NonZero`, `Unique`): equal only to itself. */
  freshDim(hint: string): Dim;
  /**
   * Infers a subgraph with these input types and gives its output types; none at all when a node in it contradicts
   * its operator, where that is not an error.
   */
  subgraph(
    graph: Graph,
    inputs: readonly (ValueType | undefined)[],
    options?: SubgraphOptions,
  ): readonly (ValueType | undefined)[];
  /** Reports that the node contradicts its operator: expected against actual, one clause without a full stop. */
  fail(problem: string): never;
}

/** What a node costs to run. */
export interface NodeCost {
  /** Multiply-accumulate operations; symbolic dims count as the sizes given to the cost function. */
  readonly macs: number;
  /** Parameters: elements of constant inputs. */
  readonly parameters: number;
  /** Bytes of those parameters. */
  readonly parameterBytes: number;
  /** Bytes read and written for activations. */
  readonly activationBytes: number;
}

/** What an operator's cost rule sees: fully known shapes. */
export interface CostContext<A = Readonly<Record<string, unknown>>> {
  /** The node. */
  readonly node: Node;
  /** Its attributes, defaults applied. */
  readonly attributes: A;
  /** Dims of input `index`; `undefined` when it is left out or not known. */
  inputShape(index: number): readonly number[] | undefined;
  /** Dims of output `index`; `undefined` when it is left out or not known. */
  outputShape(index: number): readonly number[] | undefined;
}

/**
 * The definition of an operator at the working opset: its schema and shape rule. Knowledge that plugins need
 * (gradient, axis flow, …) is not here: see {@link defineTrait}.
 */
export interface OpDef<Type extends string = string, S extends AttributeSpecs = AttributeSpecs> {
  /** Operator set; `''` is `ai.onnx`. */
  readonly domain: string;
  /** Operator name. */
  readonly type: Type;
  /** Opset of its domain in which this form of it came in. */
  readonly since: number;
  /** Formal inputs, in order. */
  readonly inputs: readonly ParameterSpec[];
  /** Formal outputs, in order. */
  readonly outputs: readonly ParameterSpec[];
  /** Attributes. */
  readonly attributes: S;
  /**
   * Whether equal inputs always give equal outputs (not so: random operators, training-mode Dropout). One with subgraphs
   * is as deterministic as the nodes in them.
   */
  readonly deterministic: boolean;
  /** Sets the output types. */
  infer(context: InferContext<AttributesOf<S>>): void;
  /** Multiply-accumulates of a node; 0 for operators without a rule. */
  macs?(context: CostContext<AttributesOf<S>>): number;
}

/** An operator definition of any attribute table. */
export type AnyOpDef = OpDef<string, AttributeSpecs>;

/** How an operator is defined: {@link OpDef} with the usual parts left out. */
export type OpInit<Type extends string, S extends AttributeSpecs> = Omit<
  OpDef<Type, S>,
  'domain' | 'deterministic' | 'attributes'
> & {
  /** Operator set; `ai.onnx` by default. */
  readonly domain?: string;
  /** Attributes; none by default. */
  readonly attributes?: S;
  /** Whether equal inputs always give equal outputs; `true` by default. */
  readonly deterministic?: boolean;
};

/**
 * Defines an operator.
 *
 * @example
 * ```ts
 * import { attr, defineOp, floatDTypes } from '@lithe/core';
 *
 * export const scaledTanh = defineOp({
 *   domain: 'com.example',
 *   type: 'ScaledTanh',
 *   since: 1,
 *   inputs: [{ name: 'X', dtypes: floatDTypes, variable: 'T' }],
 *   outputs: [{ name: 'Y', dtypes: floatDTypes, variable: 'T' }],
 *   attributes: { scale: attr.float(1) },
 *   infer: (context) => context.output(0, context.dtype(0), context.shape(0)),
 * });
 * scaledTanh.type; // => 'ScaledTanh'
 * ```
 */
export function defineOp<const Type extends string, S extends AttributeSpecs = Record<never, never>>(
  init: OpInit<Type, S>,
): OpDef<Type, S> {
  return { domain: '', deterministic: true, ...init, attributes: init.attributes ?? ({} as S) };
}

/** Reads the attributes of a node by its definition, defaults applied: `attributesOf(node, Conv).strides`. */
export function attributesOf<S extends AttributeSpecs>(node: Node, op: OpDef<string, S>): AttributesOf<S> {
  return readAttributes(node, op.attributes);
}

/** Floating-point dtypes that arithmetic operators take. */
export const floatDTypes: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16'];

/** Integer dtypes of whole bytes. */
export const integerDTypes: readonly DType[] = [
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
];

/** All numeric dtypes of whole bytes. */
export const numericDTypes: readonly DType[] = [...floatDTypes, ...integerDTypes];
