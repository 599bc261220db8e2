import {
  constantOf,
  type Dim,
  inferShapes,
  isStaticShape,
  type Model,
  type Node,
  type PassContext,
  type ReportBuilder,
  Tensor,
  type TensorSource,
  tensorType,
  type Value,
} from '@lithe/core';

/** Times that targets are rewritten and types inferred anew: a chain of reshapes opens one by one. */
const MAX_ROUNDS = 50;

/**
 * Makes a literal batch size symbolic: the first dim of every input that has it becomes `symbol`, and literal batch
 * sizes in the targets of Reshape become copies (0) where the sizes prove that the rest of the target holds what
 * one sample holds. All or nothing: when any node still depends on the literal size, the model stays as it was.
 */
export async function makeBatchSymbolic(
  draft: Model,
  symbol: string,
  report: ReportBuilder,
  context: PassContext,
): Promise<void> {
  const inputs = draft.graph.inputs.filter(
    (input) => input.initializer === undefined && input.shape !== undefined && input.shape.length > 1,
  );
  const literal = inputs.map((input) => input.shape?.[0]).find((dim) => typeof dim === 'number');
  if (literal === undefined || typeof literal !== 'number') return;
  const trial = draft.clone();
  const targets = await open(trial, literal, symbol, context);
  if (typeof targets === 'string') {
    report.skip('model', 'batch', targets);
    return;
  }
  openInputs(draft, literal, symbol);
  const nodes = [...draft.graph.nodes()];
  for (const [index, target] of targets) {
    const node = nodes[index] as Node;
    setTarget(draft, node, target);
    report.apply(`symbolic-batch: let Reshape "${node.name}" copy the batch size`);
  }
  await inferShapes(draft, { opset: context.opset, signal: context.signal, overwrite: true, strict: false });
  report.apply(`symbolic-batch: name the batch size ${symbol} instead of ${literal}`);
}

function openInputs(model: Model, literal: number, symbol: string): void {
  for (const input of model.graph.inputs) {
    const { shape, dtype } = input;
    if (input.initializer !== undefined || shape === undefined || shape.length < 2 || shape[0] !== literal)
      continue;
    input.type = tensorType(dtype, [symbol, ...shape.slice(1)]);
  }
  // Declared types of outputs hold the literal too, and would contradict what is inferred.
  model.graph.revision.count++;
}

function setTarget(model: Model, node: Node, target: readonly number[]): void {
  const name = model.graph.uniqueName(`${node.name}_shape`);
  const value = model.graph.addInitializer(
    name,
    Tensor.from('int64', [target.length], BigInt64Array.from(target, BigInt)),
  );
  model.graph.setInput(node, 1, value);
}

/** Opens the trial; the new targets by node position, or why it cannot be done. */
async function open(
  trial: Model,
  literal: number,
  symbol: string,
  context: PassContext,
): Promise<ReadonlyMap<number, readonly number[]> | string> {
  const targets = new Map<number, readonly number[]>();
  openInputs(trial, literal, symbol);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const inferred = await inferShapes(trial, {
      opset: context.opset,
      signal: context.signal,
      overwrite: true,
      strict: false,
    });
    let changed = false;
    for (const [index, node] of [...trial.graph.nodes()].entries()) {
      if (!node.is('Reshape')) continue;
      const target = await openTarget(node, literal, symbol);
      if (target === undefined) continue;
      setTarget(trial, node, target);
      targets.set(index, target);
      changed = true;
    }
    if (changed) continue;
    if (inferred.problems[0] !== undefined) return inferred.problems[0];
    return verdict(trial, symbol) ?? targets;
  }
  return 'the targets of Reshape did not settle';
}

/** A target that copies the batch size, where the first entry is the literal and the rest holds one sample. */
async function openTarget(
  node: Node,
  literal: number,
  symbol: string,
): Promise<readonly number[] | undefined> {
  const [input, target] = [node.input(0), node.input(1)];
  const source = constantOf(target);
  if (input === null || source === undefined || node.attributes.has('allowzero')) return undefined;
  const entries = await numbersOf(source);
  const shape = input.shape;
  if (entries[0] !== literal || shape?.[0] !== symbol) return undefined;
  const rest = entries.slice(1);
  if (rest.includes(-1)) return rest.includes(0) ? undefined : [0, ...rest];
  const sample = shape.slice(1);
  if (!isStaticShape(sample) || rest.includes(0)) return undefined;
  const product = (dims: readonly number[]): number => dims.reduce((all, dim) => all * dim, 1);
  return product(rest) === product(sample) ? [0, ...rest] : undefined;
}

async function numbersOf(source: TensorSource): Promise<number[]> {
  return [...(await source.load()).toFloat64Array()];
}

/** Why some value still holds the literal size, if one does: every output must follow the batch. */
function verdict(trial: Model, symbol: string): string | undefined {
  for (const node of trial.graph.nodes()) {
    if (!node.is('Reshape') || !startsWith(node.input(0), symbol)) continue;
    if (!mentions(node.output().shape, symbol))
      return `Reshape "${node.name}" has the batch size in its target, in a place that cannot be proved`;
  }
  const lost = trial.graph.outputs.find((output) => !mentions(output.shape, symbol));
  return lost === undefined ? undefined : `output "${lost.name}" does not follow the batch size`;
}

function startsWith(value: Value | null, symbol: string): boolean {
  return value?.shape?.[0] === symbol;
}

function mentions(shape: readonly Dim[] | undefined, symbol: string): boolean {
  return shape?.some((dim) => typeof dim === 'string' && new RegExp(`\\b${symbol}\\b`).test(dim)) === true;
}
