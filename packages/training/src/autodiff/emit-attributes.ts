import { type Attribute, attribute } from '@lithe/core';

/** Attributes as rules write them: whole numbers, lists of them, texts, or an attribute made by hand. */
export type EmitAttributes = Readonly<
  Record<string, number | string | readonly number[] | Attribute | undefined>
>;

/** Names of attributes that are floats: a JavaScript number does not tell. */
const floatAttributes = new Set([
  'alpha',
  'beta',
  'gamma',
  'epsilon',
  'momentum',
  'ratio',
  'bias',
  'lambd',
  'cubic_coeff_a',
  'extrapolation_value',
  'clip',
]);

/** Makes an attribute of what a rule wrote. */
export function toAttribute(name: string, value: number | string | readonly number[] | Attribute): Attribute {
  if (typeof value === 'number')
    return floatAttributes.has(name) ? attribute.float(value) : attribute.int(value);
  if (typeof value === 'string') return attribute.string(value);
  if ('kind' in value) return value;
  return attribute.ints(value);
}
