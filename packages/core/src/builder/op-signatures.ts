import type { Value } from '../ir/value.ts';
import type { controlFlowSchemas } from '../ops/control-flow.ts';
import type { convolutionSchemas } from '../ops/convolution.ts';
import type { elementwiseBinarySchemas } from '../ops/elementwise-binary.ts';
import type { elementwiseUnarySchemas } from '../ops/elementwise-unary.ts';
import type { gatherScatterSchemas } from '../ops/gather-scatter.ts';
import type { generatorSchemas } from '../ops/generator.ts';
import type { imageSchemas } from '../ops/image.ts';
import type { matrixSchemas } from '../ops/matrix.ts';
import type { microsoftFusedSchemas } from '../ops/microsoft-fused.ts';
import type { microsoftQuantizedSchemas } from '../ops/microsoft-quantized-schemas.ts';
import type { normalizationSchemas } from '../ops/normalization.ts';
import type { poolingSchemas } from '../ops/pooling.ts';
import type { quantizationSchemas } from '../ops/quantization.ts';
import type { recurrentSchemas } from '../ops/recurrent.ts';
import type { reductionSchemas } from '../ops/reduction.ts';
import type { OpSchema, RequiredAttributes, TypeOfNotation } from '../ops/schema.ts';
import type { sequenceSchemas } from '../ops/sequence.ts';
import type { shapeSchemas } from '../ops/shape.ts';
import type { signalSchemas } from '../ops/signal.ts';
import type { slicingSchemas } from '../ops/slicing.ts';
import type { textSchemas } from '../ops/text.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import type { GraphBuilder } from './graph-builder.ts';

/** The tables of the `ai.onnx` operators, for their types. */
export type StandardSchemas = typeof controlFlowSchemas &
  typeof convolutionSchemas &
  typeof elementwiseBinarySchemas &
  typeof elementwiseUnarySchemas &
  typeof gatherScatterSchemas &
  typeof generatorSchemas &
  typeof imageSchemas &
  typeof matrixSchemas &
  typeof normalizationSchemas &
  typeof poolingSchemas &
  typeof quantizationSchemas &
  typeof recurrentSchemas &
  typeof reductionSchemas &
  typeof sequenceSchemas &
  typeof shapeSchemas &
  typeof signalSchemas &
  typeof slicingSchemas &
  typeof textSchemas;

/** The tables of the `com.microsoft` operators, for their types. */
export type MicrosoftSchemas = typeof microsoftFusedSchemas & typeof microsoftQuantizedSchemas;

/** What a builder's operator takes as an input: a value, a tensor that becomes an initializer, or `null` for one left out. */
export type BuilderInput = Value | TensorSource | null;

/** Authors a subgraph: adds its inputs and nodes to `body`, and gives its outputs in order. */
export type SubgraphBody = (body: GraphBuilder) => readonly Value[];

/** How a node is named, and what it gives. */
export interface BuilderNodeOptions {
  /** Node name; derived from the operator when left out. */
  readonly name?: string | undefined;
  /** Number of outputs, for optional and variadic ones. By default those that are required, or all if none is. */
  readonly outputs?: number | undefined;
}

/** The JavaScript type in which a builder takes an attribute. Whole numbers may be `bigint`. */
export type AttributeArgument<N> = N extends 'graph!'
  ? SubgraphBody
  : N extends 'int?' | 'int!' | readonly ['int', number]
    ? number | bigint
    : N extends 'ints?' | 'ints!' | readonly ['ints', ...unknown[]]
      ? readonly (number | bigint)[]
      : TypeOfNotation<N>;

/** The attributes that a builder takes for an entry of an operator table. */
export type AttributeArguments<S extends OpSchema> = S extends { readonly attributes: infer A }
  ? { readonly [K in RequiredAttributes<A> & keyof A]: AttributeArgument<A[K]> } & {
      readonly [K in Exclude<keyof A, RequiredAttributes<A>>]?: AttributeArgument<A[K]> | undefined;
    }
  : Readonly<Record<string, never>>;

/** The notes of the outputs that are required. */
type RequiredOutputs<Text> = Text extends `${infer Head} ${infer Rest}`
  ? Head extends `${string}?`
    ? RequiredOutputs<Rest>
    : readonly [Head, ...RequiredOutputs<Rest>]
  : Text extends `${string}?`
    ? readonly []
    : readonly [Text];

/** What an operator gives: one value where just one output is required, else a list. */
export type OperatorResult<S extends OpSchema> =
  RequiredOutputs<S['outputs']> extends readonly [infer Only]
    ? Only extends `${string}*`
      ? readonly Value[]
      : Value
    : readonly Value[];

/** A builder's operator that has no required attribute. */
export interface FreeOperator<S extends OpSchema> {
  /** Adds a node and gives as many outputs as asked for. */
  (
    inputs: readonly BuilderInput[],
    attributes: AttributeArguments<S> | undefined,
    options: BuilderNodeOptions & { readonly outputs: number },
  ): readonly Value[];
  /** Adds a node. */
  (
    inputs: readonly BuilderInput[],
    attributes?: AttributeArguments<S> | undefined,
    options?: BuilderNodeOptions & { readonly outputs?: undefined },
  ): OperatorResult<S>;
}

/** A builder's operator that has required attributes. */
export interface StrictOperator<S extends OpSchema> {
  /** Adds a node and gives as many outputs as asked for. */
  (
    inputs: readonly BuilderInput[],
    attributes: AttributeArguments<S>,
    options: BuilderNodeOptions & { readonly outputs: number },
  ): readonly Value[];
  /** Adds a node. */
  (
    inputs: readonly BuilderInput[],
    attributes: AttributeArguments<S>,
    options?: BuilderNodeOptions & { readonly outputs?: undefined },
  ): OperatorResult<S>;
}

type HasRequired<S extends OpSchema> = S extends { readonly attributes: infer A }
  ? [RequiredAttributes<A>] extends [never]
    ? false
    : true
  : false;

/** A function per operator of a table, each with the types of its attributes and outputs. */
export type Operators<Schemas> = {
  readonly [K in keyof Schemas]: Schemas[K] extends OpSchema
    ? HasRequired<Schemas[K]> extends true
      ? StrictOperator<Schemas[K]>
      : FreeOperator<Schemas[K]>
    : never;
};
