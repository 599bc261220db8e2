import { attribute, definePass, dtypes, type Pass, ReportBuilder, tensorType } from '@lithe/core';
import { z } from 'zod';
import { bfloatFit, bfloatWeight } from '../weights/bfloat-weight.ts';
import { findWeights } from '../weights/find-weights.ts';
import { float32Data } from '../weights/lazy-parts.ts';
import { replaceConstant } from '../weights/replace-constant.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link bfloat16Storage}. */
export interface Bfloat16StorageOptions {
  /** Constants with fewer elements stay float32; 256 by default. */
  readonly minimumElements?: number | undefined;
}

const schema = z.strictObject({ minimumElements: z.int().min(1).default(256) });

type Options = Resolved<Bfloat16StorageOptions>;

/**
 * Stores weights as bfloat16 that the runtime expands to float32 once, when it loads the model: half the file, float
 * speed, the range of float32 and 8 significant bits, about 50 dB of signal to noise. `float16Storage` keeps 11 bits
 * at the same size; this is for weights that were trained in bfloat16, which it stores exactly, or lie beyond 65504.
 *
 * There is no bfloat16 arithmetic to go with it: onnxruntime 1.30 has no bfloat16 kernels for products, sums or
 * convolutions on CPU, WASM and WebGPU. Its WebGPU build for browsers has no cast from bfloat16 either: what this pass
 * makes does not load there, but does in WASM and in Node, on the WebGPU provider of onnxruntime-node too. Use
 * `float16Storage` for WebGPU in browsers.
 *
 * @example
 * ```ts
 * import { bfloat16Storage } from '@lithe/quantization';
 *
 * bfloat16Storage().name; // => 'quantization/bfloat16-storage'
 * ```
 */
export const bfloat16Storage: Pass<Bfloat16StorageOptions, Options> = definePass({
  name: 'quantization/bfloat16-storage',
  version: 1,
  summary: 'Stores weights as bfloat16 that the runtime expands once, at load.',
  options: schema,
  preserves: 'accuracy',
  run: async (draft, options, { signal, progress }) => {
    const report = new ReportBuilder();
    let bytes = 0;
    const weights = findWeights(draft, options.minimumElements, report);
    for (const [done, { value, source }] of weights.entries()) {
      signal.throwIfAborted();
      progress({ task: 'quantization/bfloat16-storage', done, total: weights.length, label: value.name });
      const { name } = value;
      const what = `weight "${name}"`;
      const beyond = bfloatFit(float32Data(await source.load(signal), what));
      if (beyond > 0) {
        report.skip(name, 'overflow', `${beyond} of its elements are beyond the bfloat16 range`);
        continue;
      }
      bytes += source.byteLength / 2;
      replaceConstant(value, (builder) =>
        builder.node('Cast', [builder.initializer(`${name}_bf16`, bfloatWeight(source, what))], {
          attributes: { to: attribute.int(dtypes.float32.onnx) },
          output: { type: tensorType('float32', source.shape) },
        }),
      );
      report.apply(`store "${name}" as bfloat16`);
    }
    report.metric('bytesSaved', bytes, 'bytes');
    return report.build();
  },
});
