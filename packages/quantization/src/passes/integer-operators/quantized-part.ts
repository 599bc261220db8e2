import { constantOf, type Node, type Value } from '@lithe/core';
import { clipsAlike } from '../../explain/clips.ts';
import { onlyReader } from '../../explain/fusion-draft.ts';
import {
  isDequantize,
  isQuantize,
  type PairParameters,
  parametersOf,
  type Scalars,
} from '../../explain/pairs.ts';

/** A tensor of integers with its scale and zero point, as graph values. */
export interface IntegerTensorValue {
  /** The integers. */
  readonly levels: Value;
  /** One scale, or one per channel. */
  readonly scale: Value;
  /** Zero point, like the scale. */
  readonly zeroPoint: Value;
  /** The node that expands them, or makes them. */
  readonly node: Node;
  /** Scale and zero point as numbers. */
  readonly parameters: PairParameters;
}

/** What a node reads on an input, before it is expanded to floats; `undefined` when that is not how it comes. */
export function readsIntegers(node: Node, index: number, scalars: Scalars): IntegerTensorValue | undefined {
  const from = node.input(index)?.producer;
  if (!isDequantize(from)) return undefined;
  const [levels, scale, zeroPoint] = [from.input(0), from.input(1), from.input(2)];
  const blocks = from.attributes.get('block_size');
  if (levels === null || scale === null || zeroPoint === null) return undefined;
  if (blocks?.kind === 'int' && blocks.value !== 0n) return undefined;
  return { levels, scale, zeroPoint, node: from, parameters: parametersOf(from, scalars) };
}

/** What the result of a node becomes, alone, behind an activation function that the quantizer makes needless at most. */
export function handsOutIntegers(
  node: Node,
  scalars: Scalars,
  output = 0,
): (IntegerTensorValue & { readonly rectifier: Node | undefined }) | undefined {
  const first = onlyReader(node.output(output))?.node;
  const rectifier = first?.is('Relu') === true || first?.is('Clip') === true ? first : undefined;
  const quantize = rectifier === undefined ? first : onlyReader(rectifier.output())?.node;
  if (!isQuantize(quantize)) return undefined;
  const parameters = parametersOf(quantize, scalars);
  const [scale, zeroPoint] = [quantize.input(1), quantize.input(2)];
  if (scale === null || zeroPoint === null || !parameters.plain) return undefined;
  if (rectifier !== undefined && !clipsAlike(rectifier, { node: quantize, parameters }, scalars))
    return undefined;
  return { levels: quantize.output(), scale, zeroPoint, node: quantize, parameters, rectifier };
}

/** Whether integers are 8-bit. */
export function isByte({ parameters: { dtype } }: IntegerTensorValue): boolean {
  return dtype === 'int8' || dtype === 'uint8';
}

/** Whether integers are constant. */
export const isConstant = ({ levels }: IntegerTensorValue): boolean => constantOf(levels) !== undefined;
