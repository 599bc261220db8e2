import type { Explanation, OperatorExplanation } from './explain.ts';

/** How {@link formatExplanation} writes. */
export interface FormatExplanationOptions {
  /** Which operators are listed: those in floats and those with a warning (`problems`, the default), or `all`. */
  readonly list?: 'problems' | 'all' | undefined;
}

function line({ node, op, runs, as, reason }: OperatorExplanation): string {
  const how = runs === 'integer' && as !== undefined && as !== op ? `integer, as ${as}` : runs;
  return `  ${op} "${node}": ${how}${reason === undefined ? '' : `: ${reason}`}`;
}

/**
 * An explanation as text: a summary, then a line for each operator that needs a look.
 *
 * @example
 * ```ts
 * import { formatExplanation } from '@lithe/quantization';
 *
 * const nothing = { target: 'wasm', operators: [], integer: 0, float: 0, quantizers: 0, dequantizers: 0 };
 * formatExplanation(nothing); // => 'wasm: 0 operators in integers, 0 in floats, 0 conversions'
 * ```
 */
export function formatExplanation(explanation: Explanation, options: FormatExplanationOptions = {}): string {
  const { target, operators, integer, float, quantizers, dequantizers } = explanation;
  const conversions = quantizers + dequantizers;
  const summary = `${target}: ${integer} operators in integers, ${float} in floats, ${conversions} conversions`;
  const all = options.list === 'all';
  const listed = operators.filter(
    ({ runs, code }) => all || runs === 'float' || runs === 'weights' || code !== undefined,
  );
  return [summary, ...listed.map(line)].join('\n');
}
