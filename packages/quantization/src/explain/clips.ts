import { constantOf, type Node } from '@lithe/core';
import { limitsOf, type PairParameters, type Scalars } from './pairs.ts';

/** The nearest whole number, halves to even, of a float32 quotient. */
function nearest(value: number): number {
  const single = Math.fround(value);
  const floor = Math.floor(single);
  if (single - floor !== 0.5) return Math.round(single);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Whether a quantizer clips as the activation function before it does, so that the function may go. */
export function clipsAlike(
  rectifier: Node,
  quantize: { readonly node: Node; readonly parameters: PairParameters },
  scalars: Scalars,
): boolean {
  const { dtype, scale, zeroPoint } = quantize.parameters;
  const limits = limitsOf(dtype);
  if (limits === undefined || scale === undefined || zeroPoint === undefined) return false;
  // The runtime looks at scales without axes only.
  if (constantOf(quantize.node.input(1))?.shape.length !== 0) return false;
  if (rectifier.is('Relu')) return zeroPoint === limits[0];
  const bound = (index: number): number | undefined => {
    const value = rectifier.input(index);
    return value === null ? undefined : scalars.get(value)?.[0];
  };
  const [low, high] = [bound(1), bound(2)];
  if (low === undefined || high === undefined) return false;
  return nearest(low / scale) + zeroPoint <= limits[0] && nearest(high / scale) + zeroPoint >= limits[1];
}
