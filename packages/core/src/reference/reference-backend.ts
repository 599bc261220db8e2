import {
  BACKEND_CONTRACT,
  type Backend,
  type BackendStats,
  type CompileOptions,
  type EncodedModel,
  type Executable,
  type ExecuteOptions,
  type StatePair,
  type Support,
  type TimingOptions,
} from '../backend/backend.ts';
import { createRunContext } from '../context/run-context.ts';
import type { Feeds } from '../data/dataset.ts';
import { errors } from '../errors/catalogue.ts';
import { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import { type DType, dtypes } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { feedsOf, outputsOf } from './evaluate-model.ts';
import { isTensor } from './kernel.ts';
import { referenceKernels } from './kernels/table.ts';
import { KERNEL_HINT, Program, type ReferenceOptions } from './program.ts';

/** How the reference backend is made. */
export interface ReferenceBackendOptions extends ReferenceOptions {
  /** Clock in milliseconds, for `time`; `performance.now` by default. */
  readonly now?: (() => number) | undefined;
}

const NAME = 'reference';

/**
 * The reference interpreter as a backend: the oracle that others are compared with. Runs every dtype, anywhere, slowly.
 *
 * @example
 * ```ts
 * import { Graph, Model, Tensor, tensorType } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 *
 * const graph = new Graph();
 * const x = graph.addInput('x', tensorType('float32', [2]));
 * const node = graph.addNode({ opType: 'Relu', inputs: [x] }, [{ name: 'y' }]);
 * graph.setOutputs([node.output(0)]);
 *
 * const backend = referenceBackend();
 * const compiled = await backend.compile(new Model({ graph }));
 * const { y } = await compiled.run({ x: Tensor.from('float32', [2], new Float32Array([-1, 2])) });
 * y?.data[1]; // => 2
 * await backend.dispose();
 * ```
 */
export function referenceBackend(options: ReferenceBackendOptions = {}): Backend {
  const kernels = { ...referenceKernels, ...options.kernels };
  const live = new Set<ReferenceExecutable>();
  let disposed = false;
  const dispose = async (): Promise<void> => {
    disposed = true;
    for (const executable of [...live]) await executable.dispose();
  };
  return {
    name: NAME,
    contract: BACKEND_CONTRACT,
    version: '1',
    dtypes: new Set(Object.keys(dtypes) as DType[]),
    features: new Set(['state']),
    limits: { maxOutputBytes: options.maxOutputBytes ?? 2 ** 31 },
    supports: (node: Node): Support =>
      kernels[node.op] === undefined
        ? {
            ok: false,
            code: 'no-kernel',
            reason: `the reference interpreter has no kernel for ${node.op}. ${KERNEL_HINT}`,
          }
        : { ok: true },
    compile: async (
      model: Model | EncodedModel,
      compileOptions: CompileOptions = {},
    ): Promise<Executable> => {
      if (disposed) throw errors.disposed(`Backend "${NAME}"`);
      compileOptions.signal?.throwIfAborted();
      if (!(model instanceof Model)) {
        throw errors.backendFailed(
          NAME,
          'it runs models in memory, not encoded files. Read the file with @lithe/onnx first.',
        );
      }
      const program = new Program(model, options);
      await program.loadAll(compileOptions.signal);
      const executable = new ReferenceExecutable(
        { model, program, state: compileOptions.state ?? [], now: options.now ?? createRunContext().now },
        () => live.delete(executable),
      );
      live.add(executable);
      return executable;
    },
    stats: (): BackendStats => {
      const held = [...live].flatMap((executable) => executable.held());
      return {
        executables: live.size,
        liveTensors: held.length,
        liveBytes: held.reduce((sum, tensor) => sum + tensor.byteLength, 0),
      };
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

interface ExecutableInit {
  readonly model: Model;
  readonly program: Program;
  readonly state: readonly StatePair[];
  readonly now: () => number;
}

class ReferenceExecutable implements Executable {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #init: ExecutableInit;
  readonly #onDispose: () => void;
  #state: Map<string, Tensor> | undefined;

  constructor(init: ExecutableInit, onDispose: () => void) {
    this.#init = init;
    this.#onDispose = onDispose;
    const { graph } = init.model;
    const problems = init.state.flatMap(({ input, output }) => [
      ...(graph.inputs.some((value) => value.name === input)
        ? []
        : [`State input "${input}" is no graph input.`]),
      ...(graph.outputs.some((value) => value.name === output)
        ? []
        : [`State output "${output}" is no graph output.`]),
    ]);
    if (problems.length > 0) throw errors.optionsInvalid('compile', problems);
    const inputs = new Set(init.state.map((pair) => pair.input));
    const outputs = new Set(init.state.map((pair) => pair.output));
    this.inputNames = graph.inputs.map((value) => value.name).filter((name) => !inputs.has(name));
    this.outputNames = graph.outputs.map((value) => value.name).filter((name) => !outputs.has(name));
    this.#state = new Map(init.state.map((pair) => [pair.input, pair.initial]));
  }

  held(): readonly Tensor[] {
    return this.#state === undefined ? [] : [...this.#init.program.loaded, ...this.#state.values()];
  }

  async run(feeds: Feeds, options: ExecuteOptions = {}): Promise<Readonly<Record<string, Tensor>>> {
    options.signal?.throwIfAborted();
    const state = this.#alive();
    const { model, program } = this.#init;
    for (const name of Object.keys(feeds)) {
      if (state.has(name))
        throw errors.shapeMismatch(name, 'it is state of the executable; set it with writeState');
    }
    const bound = feedsOf(model, { ...feeds, ...Object.fromEntries(state) });
    const named = outputsOf(model, options.outputs ?? this.outputNames);
    const next = outputsOf(
      model,
      this.#init.state.map((pair) => pair.output),
    );
    const results = await program.run({
      feeds: bound,
      outputs: [...named, ...next],
      signal: options.signal,
      now: this.#init.now,
    });
    const tensors = results.map((value, index) => {
      if (isTensor(value)) return value;
      const name = [...named, ...next][index]!.name;
      throw errors.dtypeUnsupported(`Output "${name}" of a backend`, value?.kind ?? 'nothing', ['tensors']);
    });
    // State changes only when the whole run went well.
    this.#init.state.forEach((pair, index) => {
      this.#alive().set(pair.input, tensors[named.length + index]!);
    });
    return Object.fromEntries(named.map((value, index) => [value.name, tensors[index]!]));
  }

  async time(feeds: Feeds, options: TimingOptions): Promise<Float64Array> {
    const { now } = this.#init;
    for (let index = 0; index < (options.warmup ?? 0); index++) await this.run(feeds, options);
    const milliseconds = new Float64Array(options.runs);
    for (let index = 0; index < options.runs; index++) {
      const start = now();
      await this.run(feeds, { signal: options.signal });
      milliseconds[index] = now() - start;
    }
    return milliseconds;
  }

  async readState(names?: readonly string[]): Promise<Readonly<Record<string, Tensor>>> {
    const state = this.#alive();
    const wanted = names ?? [...state.keys()];
    return Object.fromEntries(wanted.map((name) => [name, state.get(name) ?? unknownState(name)]));
  }

  async writeState(values: Feeds): Promise<void> {
    const state = this.#alive();
    for (const [name, tensor] of Object.entries(values)) {
      const held = state.get(name) ?? unknownState(name);
      if (held.dtype !== tensor.dtype || held.shape.join() !== tensor.shape.join()) {
        throw errors.shapeMismatch(name, `the state is ${held.toString()}, not ${tensor.toString()}`);
      }
    }
    for (const [name, tensor] of Object.entries(values)) state.set(name, tensor);
  }

  async dispose(): Promise<void> {
    if (this.#state === undefined) return;
    this.#state = undefined;
    this.#onDispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #alive(): Map<string, Tensor> {
    if (this.#state === undefined) throw errors.disposed('The executable');
    return this.#state;
  }
}

function unknownState(name: string): never {
  throw errors.optionsInvalid('an executable', [`It has no state "${name}".`]);
}
