import { type Attribute, constantOf, type Node, Tensor, type Value } from '@lithe/core';
import type { TypeFlow } from '../upgrade/type-flow.ts';

/** How a node is written at another opset than the working one. Nothing in the model is edited for it. */
export interface WrittenForm {
  /** What it reads. */
  readonly inputs: readonly (Value | null)[];
  /** Its attributes. */
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Inputs to be written as empty tensors of float32 where they are left out. */
  readonly emptyInputs?: readonly number[] | undefined;
}

/** What crossing an opset downwards may look at. */
export interface CrossingContext {
  /** The node. */
  readonly node: Node;
  /** What is known of types. */
  readonly types: TypeFlow;
}

/**
 * Takes the form that holds from an opset on, and gives the one that held before it.
 *
 * @returns the form, or why there is none: the end of a sentence
 */
export type Crossing = (form: WrittenForm, context: CrossingContext) => WrittenForm | string;

/** A form with other attributes; `undefined` removes one. */
export function withAttributes(
  form: WrittenForm,
  changes: Readonly<Record<string, Attribute | undefined>>,
): WrittenForm {
  const attributes = new Map(form.attributes);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) attributes.delete(name);
    else attributes.set(name, value);
  }
  return { ...form, attributes };
}

/** A form with other inputs; left-out ones at the end are dropped. */
export function withInputs(form: WrittenForm, inputs: readonly (Value | null)[]): WrittenForm {
  let length = inputs.length;
  while (length > 0 && inputs[length - 1] === null) length--;
  return { ...form, inputs: inputs.slice(0, length) };
}

/** Input `index`, or `null`. */
export function inputOf(form: WrittenForm, index: number): Value | null {
  return form.inputs[index] ?? null;
}

/** The whole numbers that an input always holds; `undefined` when that is not known. */
export function constantInts(value: Value | null): readonly bigint[] | undefined {
  const known = constantOf(value);
  if (!(known instanceof Tensor) || (known.dtype !== 'int64' && known.dtype !== 'int32')) return undefined;
  const out: bigint[] = [];
  for (const item of known.data as BigInt64Array | Int32Array) out.push(BigInt(item));
  return out;
}

/** The numbers that an input of float type always holds. */
export function constantFloats(value: Value | null): readonly number[] | undefined {
  const known = constantOf(value);
  if (!(known instanceof Tensor) || known.dtype === 'string') return undefined;
  if (known.dtype === 'complex64' || known.dtype === 'complex128') return undefined;
  return Array.from(known.toFloat64Array());
}

/** An integer attribute, or what holds without it. */
export function intOf(form: WrittenForm, name: string, otherwise: bigint): bigint {
  const found = form.attributes.get(name);
  return found?.kind === 'int' ? found.value : otherwise;
}
