import { errors } from '../errors/catalogue.ts';
import { type Attribute, type AttributeKind, attribute } from '../ir/attribute.ts';
import type { ValueType } from '../ir/types.ts';
import type { TensorSource } from '../tensor/tensor.ts';

const isWhole = (value: unknown): value is number | bigint =>
  typeof value === 'bigint' || Number.isSafeInteger(value);
const isList = (value: unknown, test: (item: unknown) => boolean): value is readonly never[] =>
  Array.isArray(value) && value.every(test);
const isNumber = (value: unknown): value is number => typeof value === 'number';
const isText = (value: unknown): value is string => typeof value === 'string';
const isTensor = (value: unknown): value is TensorSource =>
  typeof value === 'object' && value !== null && 'load' in value && 'dtype' in value;

/** Makes an attribute of `kind` from a plain value; `undefined` when the value does not fit. Subgraphs are made elsewhere. */
function tryEncode(kind: AttributeKind, value: unknown): Attribute | undefined {
  switch (kind) {
    case 'int':
      if (typeof value === 'boolean') return attribute.int(value ? 1 : 0);
      return isWhole(value) ? attribute.int(value) : undefined;
    case 'float':
      return isNumber(value) ? attribute.float(value) : undefined;
    case 'string':
      return isText(value) ? attribute.string(value) : undefined;
    case 'ints':
      return isList(value, isWhole) ? attribute.ints(value) : undefined;
    case 'floats':
      return isList(value, isNumber) ? attribute.floats(value) : undefined;
    case 'strings':
      return isList(value, isText) ? attribute.strings([...value]) : undefined;
    case 'tensor':
      return isTensor(value) ? attribute.tensor(value) : undefined;
    case 'tensors':
      return isList(value, isTensor) ? { kind, value: [...value] } : undefined;
    case 'type':
      return typeof value === 'object' && value !== null && 'kind' in value
        ? { kind, value: value as ValueType }
        : undefined;
    case 'bytes':
      return value instanceof Uint8Array ? { kind, value } : undefined;
    case 'graph':
    case 'graphs':
    case 'types':
      return undefined;
  }
}

/**
 * Makes an attribute of `kind` from a plain JavaScript value.
 *
 * @throws {LitheError} ATTRIBUTE_INVALID when the value does not fit the kind
 */
export function encodeAttribute(kind: AttributeKind, value: unknown, node: string, name: string): Attribute {
  const encoded = tryEncode(kind, value);
  if (encoded === undefined) {
    const shown =
      typeof value === 'object' ? (Array.isArray(value) ? 'this list' : 'this object') : String(value);
    throw errors.attributeInvalid(node, name, `cannot be made from ${shown}; it is of kind "${kind}"`);
  }
  return encoded;
}
