import { attribute, definePass, dtypes, type Pass, ReportBuilder, tensorType } from '@lithe/core';
import { z } from 'zod';
import { findWeights } from '../weights/find-weights.ts';
import { halfFit, halfWeight } from '../weights/half-weight.ts';
import { float32Data } from '../weights/lazy-parts.ts';
import { replaceConstant } from '../weights/replace-constant.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link float16Storage}. */
export interface Float16StorageOptions {
  /** Constants with fewer elements stay float32; 256 by default. */
  readonly minimumElements?: number | undefined;
}

const schema = z.strictObject({ minimumElements: z.int().min(1).default(256) });

type Options = Resolved<Float16StorageOptions>;

/**
 * Stores weights as float16 that every runtime expands to float32 once, when it loads the model: half the file, float
 * speed, about 70 dB of signal to noise. A weight with elements beyond 65504 stays float32 and is reported; numbers
 * too small for float16 become the smallest one instead of zero.
 *
 * @example
 * ```ts
 * import { float16Storage } from '@lithe/quantization';
 *
 * float16Storage().name; // => 'quantization/float16-storage'
 * ```
 */
export const float16Storage: Pass<Float16StorageOptions, Options> = definePass({
  name: 'quantization/float16-storage',
  version: 1,
  summary: 'Stores weights as float16 that the runtime expands once, at load.',
  options: schema,
  preserves: 'accuracy',
  run: async (draft, options, context) => {
    const report = new ReportBuilder();
    let bytes = 0;
    let vanished = 0;
    const weights = findWeights(draft, options.minimumElements, report);
    for (const [done, { value, source }] of weights.entries()) {
      context.signal.throwIfAborted();
      context.progress({
        task: 'quantization/float16-storage',
        done,
        total: weights.length,
        label: value.name,
      });
      const { name } = value;
      const what = `weight "${name}"`;
      const fit = halfFit(float32Data(await source.load(context.signal), what));
      if (fit.beyond > 0) {
        report.skip(name, 'overflow', `${fit.beyond} of its elements are beyond the float16 range`);
        continue;
      }
      vanished += fit.vanishing;
      bytes += source.byteLength / 2;
      replaceConstant(value, (builder) => {
        const stored = builder.initializer(`${name}_f16`, halfWeight(source, what));
        const attributes = { to: attribute.int(dtypes.float32.onnx) };
        return builder.node('Cast', [stored], {
          attributes,
          output: { type: tensorType('float32', source.shape) },
        });
      });
      report.apply(`store "${name}" as float16`);
    }
    report.metric('bytesSaved', bytes, 'bytes');
    report.metric('elementsRaisedFromZero', vanished, 'elements');
    return report.build();
  },
});
