import {
  type Backend,
  type CompileOptions,
  type EncodedModel,
  errors,
  type Graph,
  isLitheError,
  type Model,
  type Node,
  type Support,
  type Value,
} from '@lithe/core';
import type { OnnxRuntimeExecutable } from './executable.ts';
import type { ValueInfo } from './worker/protocol.ts';

/** Operator sets that onnxruntime ships kernels for. */
const domains: ReadonlySet<string> = new Set([
  '',
  'ai.onnx.ml',
  'com.microsoft',
  'com.microsoft.nchwc',
  'com.ms.internal.nhwc',
]);

/** Whether onnxruntime knows the operator set of a node. Whether it has the operator, it says when it compiles. */
export function supportsDomain(node: Node): Support {
  if (domains.has(node.domain)) return { ok: true };
  return {
    ok: false,
    code: 'OP_UNSUPPORTED',
    reason: `onnxruntime has no operators of domain "${node.domain}"`,
  };
}

const hint = 'Pass `onUnsupported: "reference"` to run the model on the reference interpreter.';

/**
 * Checks every node, in subgraphs too; calls of the model's own functions are fine.
 *
 * @throws {LitheError} OP_UNSUPPORTED naming the first node that the backend cannot run
 */
export function checkDomains(model: Model, backend: Pick<Backend, 'name' | 'supports'>): void {
  const functions = new Set(model.functions.map((one) => `${one.domain}\n${one.name}`));
  const visit = (graph: Graph): void => {
    for (const node of graph.nodes()) {
      const support = backend.supports(node);
      if (!support.ok && !functions.has(`${node.domain}\n${node.opType}`)) {
        throw errors.opUnsupported(node.name, node.op, `Backend "${backend.name}"`, support.reason, hint);
      }
      for (const [, subgraph] of node.subgraphs) visit(subgraph);
    }
  };
  visit(model.graph);
  for (const one of model.functions) visit(one.graph);
}

/** How onnxruntime says that it lacks an operator: the groups are the operator and, in the first, the node. */
const complaints: readonly RegExp[] = [
  /Could not find an implementation for (\S+?)\(\d+\) node with name '([^']*)'/,
  /Fatal error: (\S+?)\(-?\d+\) is not a registered function\/op/,
  /No Op registered for (\S+) with domain_version/,
];

/** How onnxruntime says that an execution provider cannot be had on this machine. */
const missingProvider =
  /Failed to get a WebGPU adapter|Failed to load shared library|backend not found|no available backend found/i;

/** The failure to compile under its proper code: OP_UNSUPPORTED, BACKEND_UNAVAILABLE, or as it is. */
export function compileErrorOf(backend: string, error: unknown): unknown {
  if (!isLitheError(error, 'BACKEND_FAILED')) return error;
  for (const complaint of complaints) {
    const match = complaint.exec(error.message);
    if (match === null) continue;
    const [, op = '', node = ''] = match;
    return errors.opUnsupported(
      node,
      op,
      `Backend "${backend}"`,
      'the runtime has no implementation of it',
      hint,
    );
  }
  if (!missingProvider.test(error.message)) return error;
  const { message } = error.cause instanceof Error ? error.cause : error;
  return errors.backendUnavailable(
    backend,
    `an execution provider is missing: ${message}`,
    'Leave it out of `executionProviders`, or install what it needs: drivers, a GPU, its libraries.',
    error,
  );
}

/** Compiles a model on the reference interpreter instead. */
export async function compileOnReference(
  model: Model | EncodedModel,
  options: CompileOptions,
): Promise<OnnxRuntimeExecutable> {
  const { referenceBackend } = await import('@lithe/core/reference');
  const graph = 'graph' in model ? model : await decode(model);
  const backend = referenceBackend();
  const executable = await backend.compile(graph, { signal: options.signal, state: options.state });
  const infos = (values: readonly Value[], names: readonly string[]): readonly ValueInfo[] =>
    values.filter((value) => names.includes(value.name)).map(valueInfo);
  return {
    inputNames: executable.inputNames,
    outputNames: executable.outputNames,
    inputs: infos(graph.graph.inputs, executable.inputNames),
    outputs: infos(graph.graph.outputs, executable.outputNames),
    run: (feeds, execute) => executable.run(feeds, execute),
    time: (feeds, timing) => executable.time(feeds, timing),
    readState: (names) => executable.readState(names),
    writeState: (state) => executable.writeState(state),
    profile: () =>
      Promise.reject(errors.backendFailed('reference', 'the reference interpreter writes no profile.')),
    dispose: () => backend.dispose(),
    [Symbol.asyncDispose]: () => backend.dispose(),
  };
}

async function decode(model: EncodedModel): Promise<Model> {
  const { readOnnx } = await import('@lithe/onnx');
  if (typeof model.file === 'string') {
    throw errors.backendFailed(
      'reference',
      'it takes models in memory: read the file with loadOnnx of @lithe/onnx/node and compile the model.',
    );
  }
  return readOnnx(model.file);
}

function valueInfo(value: Value): ValueInfo {
  const shape = value.shape?.map((dim) => (dim === null ? '' : dim));
  return { name: value.name, dtype: value.dtype, shape };
}
