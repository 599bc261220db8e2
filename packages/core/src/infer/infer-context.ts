import { errors, formatShape } from '../errors/catalogue.ts';
import type { Attribute } from '../ir/attribute.ts';
import type { Node } from '../ir/node.ts';
import { type Dim, tensorType, type ValueType } from '../ir/types.ts';
import { readAttributes } from '../op/attributes.ts';
import type { AnyOpDef, InferContext, ParameterSpec } from '../op/op-def.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor, TensorSource } from '../tensor/tensor.ts';
import { sizesOfTensor, tensorOfSizes } from './known-values.ts';

/** What inference knows of a value. */
export interface Known {
  /** Its type; no dim of it is `null`. */
  readonly type: ValueType | undefined;
  /** What is known of its elements, row-major. */
  readonly sizes?: readonly Dim[] | undefined;
  /** Its contents, when it is a constant that was loaded. */
  readonly constant?: Tensor | undefined;
}

/** What a rule leaves behind for one output. */
export interface Inferred {
  /** Type; dims may be `null`. */
  type: ValueType | undefined;
  /** Elements. */
  sizes: readonly Dim[] | undefined;
}

/** What a node's context needs from the walk. */
export interface InferScope {
  /** What is known of a node's inputs, in order; `null` where one is left out. */
  readonly inputs: readonly (Known | null)[];
  /** Constants that were loaded. */
  loaded(source: TensorSource | undefined): Tensor | undefined;
  /** The value of an attribute of the enclosing function. */
  resolve?: ((name: string) => Attribute | undefined) | undefined;
  /** Makes a new symbol. */
  fresh(hint: string): string;
  /** Infers a subgraph. */
  subgraph: InferContext['subgraph'];
}

/** Thrown by {@link InferContext.fail} and caught by the walk: the node contradicts its operator. */
export class Contradiction extends Error {}

/** Checks a node's lists and dtypes against the operator's parameters, and gives the dtypes of its type variables. */
function bindVariables(node: Node, def: AnyOpDef, inputs: readonly (Known | null)[]): Map<string, DType> {
  const bound = new Map<string, DType>();
  for (const name of def.domain === '' ? node.attributes.keys() : []) {
    // An attribute of another opset that is passed over would change what the node means.
    if (!Object.hasOwn(def.attributes, name))
      throw new Contradiction(`attribute "${name}" is not one of the operator's`);
  }
  const last = def.inputs.at(-1);
  if (inputs.length > def.inputs.length && last?.variadic === undefined) {
    throw new Contradiction(`${def.type} takes at most ${def.inputs.length} inputs, not ${inputs.length}`);
  }
  const outputLimit = def.outputs.at(-1)?.variadic === undefined ? def.outputs.length : Infinity;
  if (node.outputs.length > outputLimit) {
    throw new Contradiction(`${def.type} gives at most ${outputLimit} outputs, not ${node.outputs.length}`);
  }
  def.inputs.forEach((parameter, index) => {
    const missing =
      parameter.optional !== true && parameter.variadic === undefined && (inputs[index] ?? null) === null;
    if (missing) throw new Contradiction(`${def.type} needs input ${index} ("${parameter.name}")`);
  });
  inputs.forEach((known, index) => {
    const parameter = def.inputs[Math.min(index, def.inputs.length - 1)] as ParameterSpec;
    const dtype = known?.type?.kind === 'tensor' ? known.type.dtype : undefined;
    if (dtype !== undefined) bindOne(def, parameter, index, dtype, bound);
  });
  return bound;
}

function bindOne(
  def: AnyOpDef,
  parameter: ParameterSpec,
  index: number,
  dtype: DType,
  bound: Map<string, DType>,
): void {
  const { dtypes, variable } = parameter;
  // bfloat16 joined most operators one opset later than the other floats; runtimes take it where they take float16.
  const allowed =
    dtypes.length === 0 || dtypes.includes(dtype) || (dtype === 'bfloat16' && dtypes.includes('float16'));
  if (!allowed)
    throw new Contradiction(
      `input ${index} ("${parameter.name}") of ${def.type} must not be ${dtype}, but one of ${dtypes.join(', ')}`,
    );
  if (variable === undefined || parameter.variadic === 'any') return;
  const before = bound.get(variable);
  if (before === undefined) bound.set(variable, dtype);
  else if (before !== dtype) {
    throw new Contradiction(
      `input ${index} ("${parameter.name}") of ${def.type} must be ${before} like the others of type ${variable}, not ${dtype}`,
    );
  }
}

/** The dtype that an operator's table gives an output. */
function outputDType(def: AnyOpDef, index: number, bound: ReadonlyMap<string, DType>): DType | undefined {
  const parameter = def.outputs[Math.min(index, def.outputs.length - 1)];
  if (parameter === undefined) return undefined;
  const fromVariable = parameter.variable === undefined ? undefined : bound.get(parameter.variable);
  return fromVariable ?? (parameter.dtypes.length === 1 ? parameter.dtypes[0] : undefined);
}

/** The dtypes of a node's outputs alone, where its shape rule has failed. */
export function inferDTypes(
  node: Node,
  def: AnyOpDef,
  inputs: readonly (Known | null)[],
): readonly Inferred[] {
  const bound = new Map<string, DType>();
  inputs.forEach((known, index) => {
    const variable = def.inputs[Math.min(index, def.inputs.length - 1)]?.variable;
    const dtype = known?.type?.kind === 'tensor' ? known.type.dtype : undefined;
    if (variable !== undefined && dtype !== undefined) bound.set(variable, dtype);
  });
  return node.outputs.map((_, index) => {
    const dtype = outputDType(def, index, bound);
    return { type: dtype === undefined ? undefined : tensorType(dtype), sizes: undefined };
  });
}

/** Runs an operator's rule on a node. Throws {@link Contradiction} when the node contradicts the operator. */
export function inferNode(node: Node, def: AnyOpDef, scope: InferScope): readonly Inferred[] {
  const { inputs } = scope;
  const bound = bindVariables(node, def, inputs);
  const inferred: Inferred[] = node.outputs.map(() => ({ type: undefined, sizes: undefined }));
  const typeAt = (index: number): ValueType | undefined => inputs[index]?.type;
  const tensorAt = (index: number): Extract<ValueType, { kind: 'tensor' }> | undefined => {
    const type = typeAt(index);
    return type?.kind === 'tensor' ? type : undefined;
  };
  const dtypeOfOutput = (index: number): DType | undefined => outputDType(def, index, bound);
  const context: InferContext<unknown> = {
    node,
    attributes: readAttributes(node, def.attributes, scope.resolve),
    attribute: (name) => {
      const own = node.attributes.get(name);
      return own?.kind === 'reference' ? scope.resolve?.(own.name) : own;
    },
    loaded: scope.loaded,
    inputCount: inputs.length,
    outputCount: node.outputs.length,
    has: (index) => (inputs[index] ?? null) !== null,
    type: typeAt,
    dtype: (index) => tensorAt(index)?.dtype,
    shape: (index) => tensorAt(index)?.shape,
    constant: (index) => inputs[index]?.constant ?? tensorOfSizes(tensorAt(index), inputs[index]?.sizes),
    sizes: (index) => inputs[index]?.sizes ?? sizesOfTensor(inputs[index]?.constant),
    output: (index, dtype, shape) => {
      const slot = inferred[index];
      if (slot === undefined) return;
      const element = dtype ?? dtypeOfOutput(index);
      const dims = checkedShape(def, shape);
      slot.type = element === undefined && dims === undefined ? undefined : tensorType(element, dims);
    },
    outputType: (index, type) => {
      const slot = inferred[index];
      if (slot !== undefined) slot.type = type;
    },
    outputSizes: (index, sizes) => {
      const slot = inferred[index];
      if (slot !== undefined) slot.sizes = sizes;
    },
    freshDim: scope.fresh,
    subgraph: scope.subgraph,
    fail: (problem) => {
      throw new Contradiction(problem);
    },
  };
  def.infer(context as InferContext<never>);
  return inferred;
}

function checkedShape(def: AnyOpDef, shape: readonly Dim[] | undefined): readonly Dim[] | undefined {
  for (const dim of shape ?? []) {
    if (typeof dim === 'number' && (!Number.isSafeInteger(dim) || dim < 0)) {
      throw new Contradiction(
        `${def.type} would give the shape ${formatShape(shape)}, whose dims are not all sizes`,
      );
    }
  }
  return shape;
}

/** The error that stands for a contradiction of a node. */
export function contradictionError(node: Node, problem: string): Error {
  const label = node.name === '' ? `of ${node.outputs[0]?.name ?? ''}` : node.name;
  return errors.shapeMismatch(label, `${node.op}: ${problem}`);
}
