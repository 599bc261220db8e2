import { type Backend, GraphBuilder, Tensor } from '@lithe/core';

/**
 * Whether a runtime adds two products of unsigned activations and signed weights in 16 bits, which saturate, as
 * onnxruntime does on x86 processors without VNNI. It is found out: 255 * 127 + 255 * 127 is multiplied there.
 *
 * What such a runtime makes of a model is measured by running it; {@link simulateSaturation} tells it anywhere.
 *
 * @throws {LitheError} BACKEND_FAILED when the runtime has no `MatMulInteger`
 *
 * @example
 * ```ts
 * import { referenceBackend } from '@lithe/core/reference';
 * import { saturatesProducts } from '@lithe/quantization';
 *
 * await saturatesProducts(referenceBackend()); // => false
 * ```
 */
export async function saturatesProducts(
  backend: Backend,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<boolean> {
  const b = new GraphBuilder('saturation');
  const levels = b.input('levels', 'uint8', [1, 2]);
  b.output('sum', b.op.MatMulInteger([levels, Tensor.from('int8', [2, 1], Int8Array.of(127, 127))]));
  const { signal } = options;
  const executable = await backend.compile(await b.build(), { signal });
  try {
    const feeds = { levels: Tensor.from('uint8', [1, 2], Uint8Array.of(255, 255)) };
    const { sum } = await executable.run(feeds, { signal });
    return sum?.toFloat64Array()[0] !== 2 * 255 * 127;
  } finally {
    await executable.dispose();
  }
}
