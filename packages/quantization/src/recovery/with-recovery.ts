import { errors, inferShapes, type PassStep, ReportBuilder } from '@lithe/core';
import { type RecoveryOptions, recoveryOptions } from './options.ts';
import { handOn, quantizeRecovered } from './recovered-quantization.ts';

/**
 * Recovers what a quantizing pass loses, with the model before it at hand: corrects biases, learns rounding, and leaves
 * layers that suffer in float. For passes without a `recovery` option of their own, such as `foldableWeights`, and for
 * those of third parties, as long as weights are expanded by `DequantizeLinear`, or `Cast` and `Mul`.
 *
 * @param make makes the step; it is given the names of nodes that must stay float (with a fallback, more each round)
 * @throws {LitheError} OPTIONS_INVALID when the options do not fit
 *
 * @example
 * ```ts
 * import { foldableWeights, withRecovery } from '@lithe/quantization';
 *
 * const step = withRecovery((exclude) => foldableWeights({ bits: 4, exclude }), { adaRound: true });
 * step.name; // => 'quantization/foldable-weights'
 * step.needs; // => ['data', 'backend']
 * ```
 */
export function withRecovery(
  make: (exclude: readonly string[]) => PassStep,
  options: RecoveryOptions = {},
): PassStep {
  const parsed = recoveryOptions.safeParse(options);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `"${path.join('.')}": ${message}.`);
    throw errors.optionsInvalid('recovery', problems);
  }
  const settings = parsed.data;
  const step = make([]);
  return {
    ...step,
    options: { step: step.options, recovery: settings },
    needs: [...new Set([...step.needs, 'data' as const, 'backend' as const])],
    preserves: 'accuracy',
    run: async (draft, context) => {
      await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
      const report = new ReportBuilder();
      await quantizeRecovered(draft, {
        pass: step.name,
        settings,
        context,
        report,
        quantize: async (model, exclude, notes) => {
          handOn(await make(exclude).run(model, context), notes);
        },
      });
      return report.build();
    },
  };
}
