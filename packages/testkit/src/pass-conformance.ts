import {
  compareOutputs,
  type Feeds,
  isLitheError,
  type Model,
  type OptimizeOptions,
  optimize,
  type PassStep,
  printModel,
  type TensorSource,
  verify,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { expectThat, outcomeOf, type SuiteRunner } from './suite.ts';

/** A model that a pass is tried on. */
export interface PassSubject {
  /** Name, for the test. */
  readonly name: string;
  /** Makes the model; called anew for each test. */
  model(): Model | Promise<Model>;
  /** Inputs to compare outputs on; without them outputs are not compared. */
  readonly feeds?: Feeds | undefined;
}

/** How {@link passConformance} runs. */
export interface PassConformanceOptions extends SuiteRunner {
  /** What the pass needs: data, backend, target. */
  readonly context?: OptimizeOptions | undefined;
  /** Whether a second run must change nothing; `true` by default. */
  readonly idempotent?: boolean | undefined;
}

/** The largest relative difference that a pass which preserves `numerics` may make. */
const numericsLimit = 1e-3;

/**
 * The acceptance test of a pass, on models of the author's choice: it leaves the model that was given alone, gives the
 * same result for the same seed, a valid model with the same interface, outputs as close as it declares, a report that
 * is true, and stops when it is aborted.
 *
 * @param createStep makes the step under test
 * @param subjects models to try it on: some that it changes, one that it does not
 *
 * @example
 * ```ts
 * import { definePass, GraphBuilder, ReportBuilder } from '@lithe/core';
 * import { passConformance } from '@lithe/testkit';
 *
 * const nothing = definePass({
 *   name: 'example/nothing',
 *   version: 1,
 *   summary: 'Does nothing.',
 *   options: { '~standard': { version: 1, vendor: 'example', validate: () => ({ value: {} }) } },
 *   preserves: 'bitwise',
 *   run: () => new ReportBuilder().build(),
 * });
 * const b = new GraphBuilder();
 * b.output('y', b.op.Relu([b.input('x', 'float32', [1])]));
 * const model = await b.build();
 * const tests: string[] = [];
 * passConformance(() => nothing(), [{ name: 'relu', model: () => model }], {
 *   describe: (_name, body) => body(),
 *   it: (name) => { tests.push(name); },
 * });
 * tests.length; // => 7
 * ```
 */
export function passConformance(
  createStep: () => PassStep,
  subjects: readonly PassSubject[],
  options: PassConformanceOptions,
): void {
  const { describe, it, context = {}, idempotent = true } = options;
  describe('pass conformance', () => {
    it('is described, and its options survive JSON', () => describesItself(createStep()));
    for (const subject of subjects) {
      describe(subject.name, () => {
        const run = (model: Model): ReturnType<typeof optimize> =>
          optimize(model, [createStep()], { seed: 1, ...context });
        it('leaves the model alone, and reports truly whether it changed its copy', () =>
          honestReport(subject, run));
        it('gives the same result again', () => deterministic(subject, run));
        it('gives a valid model with the same interface', () => validResult(subject, run));
        it('keeps outputs as close as it declares', () => closeOutputs(subject, run, createStep()));
        it(idempotent ? 'changes nothing the second time' : 'can be run again', () =>
          runsAgain(subject, run, idempotent),
        );
        if (context.signal === undefined)
          it('stops when it is aborted', () => stops(subject, createStep(), context));
      });
    }
  });
}

type Run = (model: Model) => ReturnType<typeof optimize>;

function describesItself(step: PassStep): void {
  const test = `Pass "${step.name}"`;
  expectThat(/^[\w.@-]+\/[\w./-]+$/.test(step.name), test, 'its name is not namespace/name.');
  expectThat(Number.isInteger(step.version) && step.version >= 1, test, `its version is ${step.version}.`);
  expectThat(step.summary.endsWith('.'), test, 'its summary is not a full sentence.');
  const text = JSON.stringify(step.options);
  expectThat(text === JSON.stringify(JSON.parse(text ?? 'null')), test, 'its options do not survive JSON.');
}

/** A model as text with all its constants, so that equal models have equal texts. */
async function fingerprint(model: Model): Promise<string> {
  const parts = [printModel(model, { maxElements: 0 })];
  const add = async (source: TensorSource | undefined): Promise<void> => {
    if (source === undefined) return;
    const tensor = await source.load();
    parts.push(tensor.dtype === 'string' ? JSON.stringify(tensor.data) : digest(tensor.bytes));
  };
  for (const value of model.graph.initializers) await add(value.initializer);
  for (const node of model.graph.nodesDeep()) {
    for (const attribute of node.attributes.values())
      if (attribute.kind === 'tensor') await add(attribute.value);
    for (const [, graph] of node.subgraphs)
      for (const value of graph.initializers) await add(value.initializer);
  }
  return parts.join('\n');
}

/** FNV-1a over bytes, with their number. */
function digest(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < bytes.length; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
  return `${bytes.length}:${(hash >>> 0).toString(16)}`;
}

async function honestReport(subject: PassSubject, run: Run): Promise<void> {
  const model = await subject.model();
  const before = await fingerprint(model);
  const { model: result, report } = await run(model);
  expectThat((await fingerprint(model)) === before, subject.name, 'the model that was given was changed.');
  const [step] = report.steps;
  expectThat(step !== undefined, subject.name, 'there is no report.');
  const same = (await fingerprint(result)) === before;
  expectThat(step.changed || same, subject.name, 'the report says that nothing changed, but something did.');
  expectThat(
    !step.changed || step.applied.length > 0,
    subject.name,
    'the report says that something changed, but not what.',
  );
  for (const skip of step.skipped) {
    expectThat(
      skip.target !== '' && skip.code !== '' && skip.reason !== '',
      subject.name,
      'a skip does not say what or why.',
    );
  }
}

async function deterministic(subject: PassSubject, run: Run): Promise<void> {
  const first = await fingerprint((await run(await subject.model())).model);
  const second = await fingerprint((await run(await subject.model())).model);
  expectThat(first === second, subject.name, 'the same model and seed gave two results.');
}

async function validResult(subject: PassSubject, run: Run): Promise<void> {
  const model = await subject.model();
  const { model: result } = await run(model);
  const [problem] = verify(result);
  expectThat(problem === undefined, subject.name, problem ?? '');
  const namesOf = (one: Model): string =>
    JSON.stringify([
      one.graph.inputs.filter((value) => value.initializer === undefined).map((value) => value.name),
      one.graph.outputs.map((value) => value.name),
    ]);
  expectThat(
    namesOf(result) === namesOf(model),
    subject.name,
    `inputs or outputs changed from ${namesOf(model)} to ${namesOf(result)}.`,
  );
}

async function closeOutputs(subject: PassSubject, run: Run, step: PassStep): Promise<void> {
  if (subject.feeds === undefined) return;
  const model = await subject.model();
  const { model: result } = await run(model);
  const drift = compareOutputs(
    await evaluateModel(model, subject.feeds),
    await evaluateModel(result, subject.feeds),
  );
  const limit = { bitwise: 0, numerics: numericsLimit, accuracy: Number.POSITIVE_INFINITY }[step.preserves];
  expectThat(
    drift.maxRelative <= limit,
    subject.name,
    `outputs moved by ${drift.maxRelative} of their largest; "${step.preserves}" allows ${limit}.`,
  );
}

async function runsAgain(subject: PassSubject, run: Run, idempotent: boolean): Promise<void> {
  const { model: once } = await run(await subject.model());
  const { report } = await run(once);
  expectThat(
    !idempotent || report.steps[0]?.changed === false,
    subject.name,
    `the second run changed ${report.steps[0]?.applied[0] ?? 'something'}.`,
  );
}

async function stops(subject: PassSubject, step: PassStep, context: OptimizeOptions): Promise<void> {
  const model = await subject.model();
  const outcome = await outcomeOf(async () => {
    try {
      await optimize(model, [step], { ...context, signal: AbortSignal.abort() });
    } catch (error) {
      throw isLitheError(error, 'PASS_FAILED') ? error.cause : error;
    }
  });
  expectThat(outcome === 'AbortError', subject.name, `an aborted run ends in ${outcome}, not AbortError.`);
}
