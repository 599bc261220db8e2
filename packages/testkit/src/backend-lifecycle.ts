import {
  BACKEND_CONTRACT,
  type Backend,
  errors,
  Graph,
  GraphBuilder,
  isLitheError,
  Model,
  Tensor,
  tensorType,
} from '@lithe/core';
import { expectThat, outcomeOf } from './suite.ts';
import { expectClose } from './tolerance.ts';

/** A test of a backend's conduct, given an open backend. */
export type LifecycleTest = (backend: Backend, name: string) => Promise<void>;

const f32 = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, Float32Array.from(values));
const exact = { absolute: 0, relative: 0 };

/** `sum = a + b`, `twice = 2 a`, with an open first dim. */
async function sumModel(): Promise<Model> {
  const b = new GraphBuilder('sum');
  const a = b.input('a', 'float32', ['N', 2]);
  b.output('sum', b.op.Add([a, b.input('b', 'float32', ['N', 2])]));
  b.output('twice', b.op.Mul([a, f32([], [2])]));
  return b.build();
}

const feeds = { a: f32([1, 2], [1, 2]), b: f32([1, 2], [10, 20]) };

/** `next = state + x`, `seen = 10 state`. */
async function stateModel(): Promise<Model> {
  const b = new GraphBuilder('state');
  const state = b.input('state', 'float32', [2]);
  b.output('next', b.op.Add([state, b.input('x', 'float32', [2])]));
  b.output('seen', b.op.Mul([state, f32([], [10])]));
  return b.build();
}

function equal(actual: Tensor | undefined, expected: Tensor, label: string): void {
  if (actual === undefined) throw errors.conformanceFailed(label, 'an output is missing.');
  expectClose(actual, expected, { label, tolerance: exact });
}

const describesItself: LifecycleTest = (backend, test) => {
  expectThat(backend.contract === BACKEND_CONTRACT, test, `it speaks contract ${String(backend.contract)}.`);
  expectThat(backend.name !== '' && backend.version !== '', test, 'it has no name or no version.');
  expectThat(backend.dtypes.has('float32'), test, 'it does not take float32.');
  return Promise.resolve();
};

const namesAndResults: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  expectThat(
    [...executable.inputNames].join() === 'a,b',
    test,
    `its inputs are ${executable.inputNames.join()}.`,
  );
  expectThat(
    [...executable.outputNames].join() === 'sum,twice',
    test,
    `its outputs are ${executable.outputNames.join()}.`,
  );
  for (let run = 0; run < 2; run++) {
    const results = await executable.run(feeds);
    equal(results['sum'], f32([1, 2], [11, 22]), test);
    equal(results['twice'], f32([1, 2], [2, 4]), test);
  }
  equal(feeds.a, f32([1, 2], [1, 2]), `${test}: the feed afterwards`);
};

const someOutputs: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  const results = await executable.run(feeds, { outputs: ['twice'] });
  expectThat(Object.keys(results).join() === 'twice', test, `it gave ${Object.keys(results).join()}.`);
};

const dynamicShapes: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  for (const rows of [3, 1, 2, 0]) {
    const a = f32(
      [rows, 2],
      Array.from({ length: 2 * rows }, (_, index) => index),
    );
    const { twice } = await executable.run({ a, b: a });
    equal(
      twice,
      f32(
        [rows, 2],
        Array.from({ length: 2 * rows }, (_, index) => 2 * index),
      ),
      `${test}, ${rows} rows`,
    );
  }
};

const concurrentRuns: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  const runs = Array.from({ length: 5 }, (_, index) =>
    executable.run({ a: f32([1, 2], [index, index]), b: feeds.b }),
  );
  for (const [index, results] of (await Promise.all(runs)).entries()) {
    equal(results['sum'], f32([1, 2], [index + 10, index + 20]), `${test}, run ${index}`);
  }
};

const otherDTypes: LifecycleTest = async (backend, test) => {
  const b = new GraphBuilder('dtypes');
  const x = b.input('x', 'int64', [2]);
  b.output('through', x);
  b.output('constant', b.constant('c', f32([1], [7])));
  b.output('equal', b.op.Equal([x, Tensor.from('int64', [1], new BigInt64Array([2n ** 40n]))]));
  await using executable = await backend.compile(await b.build());
  const fed = Tensor.from('int64', [2], new BigInt64Array([2n ** 40n, 1n]));
  const results = await executable.run({ x: fed });
  equal(results['through'], fed, test);
  equal(results['constant'], f32([1], [7]), test);
  equal(results['equal'], Tensor.from('bool', [2], new Uint8Array([1, 0])), test);
};

const wrongFeeds: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  const wrong: Readonly<Record<string, Parameters<typeof executable.run>[0]>> = {
    'a missing feed': { a: feeds.a },
    'another dtype': { ...feeds, b: Tensor.from('int32', [1, 2], new Int32Array(2)) },
    'another rank': { ...feeds, b: f32([2], [1, 2]) },
    'another size': { ...feeds, b: f32([1, 3], [1, 2, 3]) },
    'an unknown name': { ...feeds, c: feeds.a },
  };
  for (const [label, bad] of Object.entries(wrong)) {
    const outcome = await outcomeOf(() => executable.run(bad));
    expectThat(outcome === 'SHAPE_MISMATCH', test, `${label} ends in ${outcome}, not SHAPE_MISMATCH.`);
  }
  equal((await executable.run(feeds))['sum'], f32([1, 2], [11, 22]), `${test}, and runs again afterwards`);
};

const unknownOperator: LifecycleTest = async (backend, test) => {
  const graph = new Graph();
  const node = graph.addNode({
    opType: 'Frobnicate',
    domain: 'com.example.unknown',
    name: 'the culprit',
    inputs: [graph.addInput('x', tensorType('float32', [1]))],
  });
  graph.setOutputs([node.output()]);
  const support = backend.supports(node);
  expectThat(
    !support.ok && support.reason !== '',
    test,
    'it says it supports an operator that nobody knows.',
  );
  const model = new Model({
    graph,
    opsetImports: new Map([
      ['', 21],
      ['com.example.unknown', 1],
    ]),
  });
  try {
    await backend.compile(model);
  } catch (error) {
    expectThat(isLitheError(error, 'OP_UNSUPPORTED'), test, `compile threw ${String(error)}.`);
    expectThat(
      error.message.includes('the culprit'),
      test,
      `the message does not name the node: ${error.message}`,
    );
    return;
  }
  throw errors.conformanceFailed(test, 'it compiled an operator that nobody knows.');
};

const timing: LifecycleTest = async (backend, test) => {
  await using executable = await backend.compile(await sumModel());
  const times = await executable.time(feeds, { runs: 4, warmup: 1 });
  expectThat(times instanceof Float64Array && times.length === 4, test, 'it did not give four times.');
  expectThat(
    times.every((time) => time >= 0 && time < 60_000),
    test,
    `it gave ${times.join()}.`,
  );
};

const abortedWork: LifecycleTest = async (backend, test) => {
  const model = await sumModel();
  const signal = AbortSignal.abort();
  await using executable = await backend.compile(model);
  const works: Readonly<Record<string, () => Promise<unknown>>> = {
    compile: () => backend.compile(model, { signal }),
    run: () => executable.run(feeds, { signal }),
    time: () => executable.time(feeds, { runs: 1000, signal }),
  };
  for (const [what, work] of Object.entries(works)) {
    const outcome = await outcomeOf(work);
    expectThat(outcome === 'AbortError', test, `${what}() ends in ${outcome}, not AbortError.`);
  }
};

const disposedExecutable: LifecycleTest = async (backend, test) => {
  const executable = await backend.compile(await sumModel());
  await executable.dispose();
  await executable.dispose();
  for (const [what, work] of Object.entries({
    run: () => executable.run(feeds),
    time: () => executable.time(feeds, { runs: 1 }),
  })) {
    const outcome = await outcomeOf(work);
    expectThat(outcome === 'DISPOSED', test, `${what}() ends in ${outcome}, not DISPOSED.`);
  }
};

const leaks: LifecycleTest = async (backend, test) => {
  const model = await sumModel();
  const before = backend.stats();
  expectThat(before.executables === 0, test, `it starts with ${before.executables} executables.`);
  for (let round = 0; round < 3; round++) {
    await using executable = await backend.compile(model);
    await executable.run(feeds);
    expectThat(
      backend.stats().executables === 1,
      test,
      `it counts ${backend.stats().executables} executables, not 1.`,
    );
  }
  const after = backend.stats();
  expectThat(
    JSON.stringify(after) === JSON.stringify(before),
    test,
    `it holds ${JSON.stringify(after)} after all was disposed.`,
  );
};

const disposedBackend: LifecycleTest = async (backend, test) => {
  const model = await sumModel();
  const executable = await backend.compile(model);
  await backend.dispose();
  await backend.dispose();
  expectThat(
    (await outcomeOf(() => executable.run(feeds))) === 'DISPOSED',
    test,
    'an executable outlives its backend.',
  );
  expectThat(
    (await outcomeOf(() => backend.compile(model))) === 'DISPOSED',
    test,
    'it compiles after it was disposed.',
  );
};

const state: LifecycleTest = async (backend, test) => {
  // Optional: only a backend that lists the feature is held to it.
  if (!backend.features.has('state')) return;
  const pair = { input: 'state', output: 'next', initial: f32([2], [0, 100]) };
  await using executable = await backend.compile(await stateModel(), { state: [pair] });
  expectThat(
    executable.inputNames.join() === 'x' && executable.outputNames.join() === 'seen',
    test,
    'state is among its inputs or outputs.',
  );
  const x = f32([2], [1, 1]);
  for (const [a, b] of [
    [0, 1000],
    [10, 1010],
    [20, 1020],
  ] as const) {
    const results = await executable.run({ x });
    expectThat(Object.keys(results).join() === 'seen', test, `a run gave ${Object.keys(results).join()}.`);
    equal(results['seen'], f32([2], [a, b]), test);
  }
  equal((await executable.readState())['state'], f32([2], [3, 103]), test);
  await executable.writeState({ state: f32([2], [5, 6]) });
  equal((await executable.readState(['state']))['state'], f32([2], [5, 6]), test);
  equal((await executable.run({ x }))['seen'], f32([2], [50, 60]), test);
  equal(pair.initial, f32([2], [0, 100]), `${test}: the initial value afterwards`);
  const outcome = await outcomeOf(() => executable.writeState({ state: f32([3], [1, 2, 3]) }));
  expectThat(
    outcome === 'SHAPE_MISMATCH',
    test,
    `state of another shape ends in ${outcome}, not SHAPE_MISMATCH.`,
  );
};

/** The tests of a backend's conduct, by name. */
export const lifecycleTests: readonly (readonly [name: string, test: LifecycleTest])[] = [
  ['says who it is', describesItself],
  ['names inputs and outputs, gives results, and gives them again', namesAndResults],
  ['gives only the outputs that are asked for', someOutputs],
  ['takes any size where the model leaves it open', dynamicShapes],
  ['keeps concurrent runs apart', concurrentRuns],
  ['hands inputs and constants through, in other dtypes too', otherDTypes],
  ['refuses feeds that do not fit, and goes on', wrongFeeds],
  ['refuses operators that it does not know, naming the node', unknownOperator],
  ['times runs', timing],
  ['stops when it is aborted', abortedWork],
  ['refuses work after an executable was disposed', disposedExecutable],
  ['lets go of all that it held', leaks],
  ['takes its executables along when it is disposed', disposedBackend],
  ['keeps state between runs, where it can', state],
];
