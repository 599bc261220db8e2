import { definePass, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { convertToIntegerOperators } from './integer-operators/convert.ts';
import type { Resolved } from './resolved.ts';

/** Options of {@link integerOperators}. */
export interface IntegerOperatorsOptions {
  /** Whether operators of onnxruntime (`com.microsoft.QLinearAdd` and the like) are used too; off by default. */
  readonly microsoftOperators?: boolean | undefined;
}

const schema = z.strictObject({ microsoftOperators: z.boolean().default(false) });

/**
 * Makes integer operators of `QuantizeLinear`/`DequantizeLinear` pairs, for runtimes that do not fuse pairs:
 * `QLinearConv`, `QLinearMatMul` and `MatMulInteger`, all of opset 10; operators that move elements move integers.
 * What onnxruntime makes of the pairs itself gives the same numbers.
 *
 * @example
 * ```ts
 * import { integerOperators } from '@lithe/quantization';
 *
 * integerOperators().name; // => 'quantization/integer-operators'
 * ```
 */
export const integerOperators: Pass<IntegerOperatorsOptions, Resolved<IntegerOperatorsOptions>> = definePass({
  name: 'quantization/integer-operators',
  version: 1,
  summary: 'Makes integer operators of Quantize/Dequantize pairs, for runtimes that do not fuse them.',
  options: schema,
  preserves: 'accuracy',
  run: async (draft, { microsoftOperators }, { signal }) => {
    const report = new ReportBuilder();
    await convertToIntegerOperators(draft, { microsoft: microsoftOperators, report, signal });
    return report.build();
  },
});
