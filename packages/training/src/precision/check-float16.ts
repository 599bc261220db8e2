import { type Backend, dtypes, errors, GraphBuilder, type Model, Tensor } from '@lithe/core';

/**
 * Makes sure that a backend computes in float16: asks for what it declares, and tries a small product.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED naming the backend and what is missing
 */
export async function checkFloat16(backend: Backend, signal?: AbortSignal): Promise<void> {
  const { name, features } = backend;
  if (!backend.dtypes.has('float16'))
    throw errors.dtypeUnavailable(name, 'float16', 'it takes no float16 tensors');
  if (features.has('webgpu') && !features.has('shader-f16')) {
    throw errors.dtypeUnavailable(name, 'float16', 'its WebGPU device lacks the feature "shader-f16"');
  }
  let found: number | undefined;
  try {
    await using executable = await backend.compile(await product(), { signal });
    const { y } = await executable.run(
      { x: Tensor.from('float32', [1, 2], Float32Array.of(1.5, 3)) },
      { signal },
    );
    found = y?.toFloat64Array()[0];
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw errors.dtypeUnavailable(name, 'float16', `a small model failed there (${reason})`, cause);
  }
  if (found !== 6) {
    throw errors.dtypeUnavailable(
      name,
      'float16',
      `1.5 x 2 + 3 x 1 came out as ${String(found)} instead of 6`,
    );
  }
}

/** y = x @ [2, 1] in float16 between casts: sizes of 2 are exact. */
async function product(): Promise<Model> {
  const builder = new GraphBuilder('float16');
  const { op } = builder;
  const half = op.Cast([builder.input('x', 'float32', [1, 2])], { to: dtypes.float16.onnx });
  const weights = op.Cast([Tensor.from('float32', [2, 1], Float32Array.of(2, 1))], {
    to: dtypes.float16.onnx,
  });
  builder.output('y', op.Cast([op.MatMul([half, weights])], { to: dtypes.float32.onnx }));
  return await builder.build();
}
