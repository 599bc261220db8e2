import { errors, type Feeds, formatShape, type LitheError, type NumericArray, Tensor } from '@lithe/core';
import type { ValueInfo, WireTensor, WireTensors } from './worker/protocol.ts';

/** Tensors ready to be sent, and the buffers that go with them. */
export interface Parcel {
  /** The tensors. */
  readonly tensors: WireTensors;
  /** Their buffers, to be transferred. */
  readonly transfer: readonly ArrayBuffer[];
}

/** Copies a tensor for sending: the caller's array stays whole. */
export function packTensor(tensor: Tensor): WireTensor {
  const { dtype, shape } = tensor;
  if (dtype === 'string') return { dtype, shape, data: [...(tensor as Tensor<'string'>).data] };
  return { dtype, shape, data: (tensor.data as NumericArray).slice() };
}

/** Copies tensors for sending. */
export function packTensors(feeds: Feeds): Parcel {
  const tensors: Record<string, WireTensor> = {};
  const transfer: ArrayBuffer[] = [];
  for (const [name, tensor] of Object.entries(feeds)) {
    const wire = packTensor(tensor);
    tensors[name] = wire;
    if (tensor.dtype !== 'string') transfer.push((wire.data as NumericArray).buffer as ArrayBuffer);
  }
  return { tensors, transfer };
}

/** Tensors that came from a worker; nobody else holds their buffers. */
export function unpackTensors(wire: WireTensors): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(wire)) {
    tensors[name] = Tensor.from(dtype, shape, data as never);
  }
  return tensors;
}

/**
 * Checks feeds against what the runtime declares, before they cross.
 *
 * @throws {LitheError} SHAPE_MISMATCH naming the input: one is missing or unknown, or its dtype, rank or a dim does
 *   not fit
 */
export function checkFeeds(feeds: Feeds, inputs: ReadonlyMap<string, ValueInfo>): void {
  for (const name of inputs.keys()) {
    if (feeds[name] === undefined) {
      const given = Object.keys(feeds);
      throw errors.feedMismatch(
        name,
        `is missing; ${given.length === 0 ? 'nothing was fed' : `fed: ${given.join(', ')}`}`,
      );
    }
  }
  for (const [name, tensor] of Object.entries(feeds)) {
    const info = inputs.get(name);
    if (info === undefined) {
      throw errors.feedMismatch(
        name,
        `is not an input of the model; its inputs are ${[...inputs.keys()].join(', ')}`,
      );
    }
    if (info.dtype === undefined)
      throw errors.feedMismatch(name, 'is not a tensor input; this backend feeds tensors only');
    if (info.dtype !== tensor.dtype)
      throw errors.feedMismatch(name, `is ${tensor.dtype}, expected ${info.dtype}`);
    const declared = info.shape ?? [];
    const wrong = (): LitheError =>
      errors.feedMismatch(name, `has shape ${formatShape(tensor.shape)}, expected ${formatShape(declared)}`);
    if (declared.length !== tensor.shape.length) throw wrong();
    for (let axis = 0; axis < declared.length; axis++) {
      const dim = declared[axis]!;
      // A symbolic dim takes any size; whether sizes go together is for the runtime to say.
      if (typeof dim === 'number' && dim !== tensor.shape[axis]) throw wrong();
    }
  }
}
