/**
 * Conformance suites that any backend or pass can run, operator cases as data, tolerances, and numeric gradients.
 *
 * @packageDocumentation
 */
export { type BackendConformanceOptions, backendConformance } from './backend-conformance.ts';
export { type LifecycleTest, lifecycleTests } from './backend-lifecycle.ts';
export { numericGradient } from './numeric-gradient.ts';
export {
  type CaseModel,
  caseModel,
  checkCase,
  type Gap,
  gapOf,
  type OpCase,
  type OpCaseInit,
  opCases,
  type RunCase,
  unusedGaps,
} from './op-case.ts';
export { type PassConformanceOptions, type PassSubject, passConformance } from './pass-conformance.ts';
export { standardCases } from './standard-cases-table.ts';
export { expectThat, outcomeOf, type SuiteRunner } from './suite.ts';
export { type CloseOptions, expectClose, type Tolerance, toleranceOf } from './tolerance.ts';
