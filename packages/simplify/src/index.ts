/**
 * Exact simplification: folding, elimination, and fusion to standard operators.
 *
 * @packageDocumentation
 */
export { type SimplifyOptions, type SimplifySettings, simplify } from './passes/simplify.ts';
export { plugin } from './plugin.ts';
export { type RulePhase, type RuleSettings, type SimplifyRule, simplifyRules } from './rule-table.ts';
export type { Allowance } from './rules/batch-normalization.ts';
export type { KnownSizes } from './rules/constants.ts';
