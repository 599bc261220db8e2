import { openBest, openNode, openWeb } from '#platform';
import type { OnnxRuntimeBackend } from './backend.ts';
import type { OnnxRuntimeOptions, WebFiles } from './options.ts';

/**
 * Opens onnxruntime-node: the native runtime, in worker threads, so that the main thread stays free. It is an optional
 * peer: install it beside this package.
 *
 * @param options providers, threads and the like; CPU and all cores by default
 * @returns the backend; the caller disposes it
 * @throws {LitheError} BACKEND_UNAVAILABLE when onnxruntime-node is not installed, or this is not Node
 */
export function onnxruntimeNode(options: OnnxRuntimeOptions = {}): Promise<OnnxRuntimeBackend> {
  return openNode(options);
}

/**
 * Opens onnxruntime-web. In a browser it runs in web workers, on WASM or, with `executionProviders: ['webgpu']`, on
 * the GPU; in Node its WASM build runs in worker threads.
 *
 * WebGPU comes from the package's `/webgpu` entry: the default entry computes wrong numbers on it.
 *
 * @param options providers, threads, and where the package's files lie
 * @returns the backend; the caller disposes it
 * @throws {LitheError} BACKEND_UNAVAILABLE when onnxruntime-web is not installed, or there is no WebGPU adapter
 */
export function onnxruntimeWeb(options: OnnxRuntimeOptions & WebFiles = {}): Promise<OnnxRuntimeBackend> {
  return openWeb(options);
}

/**
 * Opens the best onnxruntime there is: onnxruntime-node, or, where it is not installed, onnxruntime-web.
 *
 * @param options providers, threads and the like
 * @returns the backend; its `name` says which one it is. The caller disposes it
 * @throws {LitheError} BACKEND_UNAVAILABLE when neither is installed
 *
 * @example
 * ```ts
 * import { Graph, Model, Tensor, tensorType } from '@lithe/core';
 * import { onnxruntime } from '@lithe/backend-onnxruntime';
 *
 * const graph = new Graph();
 * const x = graph.addInput('x', tensorType('float32', [2]));
 * const node = graph.addNode({ opType: 'Relu', inputs: [x] }, [{ name: 'y', type: tensorType('float32', [2]) }]);
 * graph.setOutputs([node.output(0)]);
 *
 * const backend = await onnxruntime();
 * const executable = await backend.compile(new Model({ graph }));
 * const { y } = await executable.run({ x: Tensor.from('float32', [2], new Float32Array([-1, 2])) });
 * y?.data[1]; // => 2
 * await backend.dispose();
 * ```
 */
export function onnxruntime(options: OnnxRuntimeOptions = {}): Promise<OnnxRuntimeBackend> {
  return openBest(options);
}
