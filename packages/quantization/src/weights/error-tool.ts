import { type Backend, type Executable, GraphBuilder, type Model, Tensor } from '@lithe/core';
import { quadraticError } from '../weight-algorithms/quadratic-error.ts';
import type { InputMoments, WeightTools } from '../weight-algorithms/weight-algorithm.ts';

/** `D H D'` for each row of D. */
async function errorModel(): Promise<Model> {
  const b = new GraphBuilder('weight-error');
  const change = b.input('change', 'float32', ['rows', 'inputs']);
  const hessian = b.input('hessian', 'float32', ['inputs', 'inputs']);
  const products = b.op.Mul([b.op.MatMul([change, hessian]), change]);
  const axes = Tensor.from('int64', [1], BigInt64Array.of(1n));
  b.output('error', b.op.ReduceSum([products, axes], { keepdims: false }));
  return b.build();
}

/** Tools without a backend, for weights that are quantized while a model is written. */
export function plainTools(signal: AbortSignal): WeightTools {
  return { signal, error: (change, moments) => Promise.resolve(quadraticError(change, moments)) };
}

/** Tools whose products run on a backend. Whoever makes them disposes them. */
export interface BackendTools extends WeightTools {
  /** Frees what was compiled. */
  dispose(): Promise<void>;
}

/** Tools whose products run on a backend, compiled at their first use. */
export function backendTools(backend: Backend, signal: AbortSignal): BackendTools {
  let compiled: Promise<Executable> | undefined;
  const matrices = new WeakMap<InputMoments, Tensor>();
  return {
    signal,
    error: async (change, moments) => {
      compiled ??= errorModel().then((model) => backend.compile(model, { signal }));
      const executable = await compiled;
      const { inputs } = moments;
      let hessian = matrices.get(moments);
      if (hessian === undefined) {
        hessian = Tensor.from('float32', [inputs, inputs], Float32Array.from(moments.hessian));
        matrices.set(moments, hessian);
      }
      const rows = change.length / inputs;
      const { error } = await executable.run(
        { change: Tensor.from('float32', [rows, inputs], change), hessian },
        { signal },
      );
      return Float64Array.from((error as Tensor<'float32'>).data, (value) => Math.max(0, value));
    },
    dispose: async () => {
      await (await compiled)?.dispose();
    },
  };
}
