import { type Backend, errors, type OpSet } from '@lithe/core';
import { lifecycleTests } from './backend-lifecycle.ts';
import { checkCase, type Gap, gapOf, type OpCase, unusedGaps } from './op-case.ts';
import { standardCases } from './standard-cases-table.ts';
import type { SuiteRunner } from './suite.ts';

/** How {@link backendConformance} runs. */
export interface BackendConformanceOptions extends SuiteRunner {
  /** Operator cases; {@link standardCases} by default. */
  readonly cases?: readonly OpCase[] | undefined;
  /** Cases that the backend is known to fail. A gap whose case passes is a failure, and so is one that covers no case. */
  readonly gaps?: readonly Gap[] | undefined;
  /** Operators of the cases, where they are more than the standard ones. */
  readonly opset?: OpSet | undefined;
}

/**
 * The acceptance test of a backend: operator cases as data, and the life of what it compiles: names, feeds that do not
 * fit, dynamic shapes, concurrent runs, cancellation, timing, state, disposal and leaks. One backend is opened for
 * all operator cases, and one for each test of the rest.
 *
 * @param createBackend opens a new backend
 * @param options the test runner's `describe` and `it`, cases, known gaps
 *
 * @example
 * ```ts
 * import { referenceBackend } from '@lithe/core/reference';
 * import { backendConformance } from '@lithe/testkit';
 *
 * // In a test file, `describe` and `it` come from the test runner.
 * const names: string[] = [];
 * backendConformance(() => Promise.resolve(referenceBackend()), {
 *   describe: (name, body) => { names.push(name); body(); },
 *   it: (name) => { names.push(name); },
 * });
 * names[0]; // => 'backend conformance'
 * ```
 */
export function backendConformance(
  createBackend: () => Promise<Backend>,
  options: BackendConformanceOptions,
): void {
  const { cases = standardCases, gaps = [], describe, it } = options;
  describe('backend conformance', () => {
    describe('operators', () => {
      // One backend for all cases: opening one can mean starting a worker or asking for a device.
      let opened: Promise<Backend> | undefined;
      for (const item of cases) {
        it(item.name, async () => {
          opened ??= createBackend();
          const backend = await opened;
          await runWithGaps(item, gaps, () =>
            checkCase(item, (built) => runOnce(backend, built), options.opset),
          );
        });
      }
      it('holds nothing after the cases', async () => {
        await using backend = await (opened ?? createBackend());
        opened = undefined;
        const { executables } = backend.stats();
        if (executables > 0)
          throw errors.conformanceFailed('The operator cases', `${executables} executables are left.`);
      });
      it('has no gap that covers no case', () => {
        const [unused] = unusedGaps(gaps, cases);
        if (unused !== undefined)
          throw errors.conformanceFailed(`Gap "${unused.case}"`, 'no case has this name.');
      });
    });
    describe('life of an executable', () => {
      for (const [name, test] of lifecycleTests) {
        it(name, async () => {
          await using backend = await createBackend();
          await test(backend, name);
        });
      }
    });
  });
}

async function runOnce(
  backend: Backend,
  { model, feeds }: Parameters<Parameters<typeof checkCase>[1]>[0],
): ReturnType<Parameters<typeof checkCase>[1]> {
  await using executable = await backend.compile(model);
  return executable.run(feeds);
}

/** Runs a case; one with a gap must fail. */
async function runWithGaps(item: OpCase, gaps: readonly Gap[], run: () => Promise<void>): Promise<void> {
  const gap = gapOf(item.name, gaps);
  if (gap === undefined) {
    await run();
    return;
  }
  let failed = false;
  try {
    await run();
  } catch {
    // This is what the gap says.
    failed = true;
  }
  if (!failed) {
    throw errors.conformanceFailed(
      item.name,
      `it passes, but is listed as a gap (${gap.reason} Issue ${gap.issue}); remove the gap.`,
    );
  }
}
