import {
  attribute,
  constantOf,
  type Dim,
  dtypes,
  errors,
  type Graph,
  type Node,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { FIX_SHAPES } from '../autodiff/gradients.ts';
import { type Build, keepState, type RunningStatistic } from './build.ts';
import { inferenceNorms } from './inference-norms.ts';

/** A random mask that a training step is fed. */
export interface DropoutMask {
  /** Input name. */
  readonly name: string;
  /** Shape of the mask; symbols are those of the model's inputs. */
  readonly shape: readonly Dim[];
  /** Share that is dropped. */
  readonly ratio: number;
}

/** What {@link trainingForm} made. */
export interface TrainingForm {
  /** Running statistics of BatchNormalization, by name. */
  readonly statistics: readonly string[];
  /** Random masks of Dropout. */
  readonly masks: readonly DropoutMask[];
  /** Makes the running statistics state: after gradients were added. Where `holds` is false, they stay as they are. */
  finish(holds: Value | undefined): void;
}

/**
 * Brings the operators that behave differently in training to their training form: BatchNormalization uses the
 * statistics of the batch and updates the running ones; frozen, it goes by the running ones, whatever its file says.
 * Dropout multiplies by a mask that is fed, so that every backend drops the same elements and a resumed run goes on
 * exactly as it would have.
 *
 * @param more further running statistics, which others have brought in
 */
export async function trainingForm(
  build: Build,
  more: readonly RunningStatistic[] = [],
): Promise<TrainingForm> {
  const { graph } = build.model;
  const statistics: RunningStatistic[] = [...more];
  const masks: DropoutMask[] = [];
  const isFrozen = build.options.frozenStatistics === true;
  if (isFrozen) freeze(graph);
  for (const node of graph.nodes()) {
    if (node.is('BatchNormalization')) {
      if (!isFrozen) statistics.push(...(await batchNormalization(graph, node)));
    } else if (node.is('Dropout')) {
      const mask = dropout(build, node);
      if (mask !== undefined) masks.push(mask);
    }
  }
  return {
    statistics: statistics.map(({ input }) => input.name),
    masks,
    finish: (holds) => {
      for (const { input, output, initial } of statistics) {
        const next = holds === undefined ? output : build.emit.op('Where', [holds, output, input]);
        keepState(build, input, next, initial);
      }
    },
  };
}

function freeze(graph: Graph): void {
  const [node] = inferenceNorms(graph).kept;
  if (node === undefined) return;
  throw errors.opUnsupported(
    node.name,
    node.op,
    'Training',
    'the statistics of the batch that it hands out are used, and running statistics are frozen',
    'Take what reads its second and third output out of the model, or leave out "frozenStatistics".',
  );
}

async function batchNormalization(graph: Graph, node: Node): Promise<RunningStatistic[]> {
  const [mean, variance] = [node.input(3), node.input(4)];
  const sources = [constantOf(mean), constantOf(variance)];
  if (mean === null || variance === null || sources.includes(undefined)) {
    throw errors.opUnsupported(
      node.name,
      node.op,
      'Training',
      'its running statistics are not constants of the model',
    );
  }
  // Shared by several nodes, each would need a value of its own after the step.
  if (mean.uses.length > 1 || variance.uses.length > 1) {
    throw errors.opUnsupported(
      node.name,
      node.op,
      'Training',
      'its running statistics are used in several places',
    );
  }
  graph.setAttribute(node, 'training_mode', attribute.int(1));
  const found: RunningStatistic[] = [];
  for (const [index, value] of [mean, variance].entries()) {
    const initial = await (sources[index] as NonNullable<(typeof sources)[number]>).load();
    const output = node.outputs[index + 1] ?? graph.addOutputOf(node);
    output.type = tensorType(initial.dtype, initial.shape);
    graph.setInputs([...graph.inputs, value]);
    graph.setInitializer(value, undefined);
    value.type = tensorType(initial.dtype, initial.shape);
    found.push({ input: value, output, initial });
  }
  return found;
}

function dropout({ model }: Build, node: Node): DropoutMask | undefined {
  const { graph } = model;
  const x = node.input(0) as Value;
  const source = constantOf(node.input(1));
  const ratio = source instanceof Tensor ? (source.toFloat64Array()[0] as number) : 0.5;
  if (ratio === 0) return undefined;
  const unsupported = (reason: string, hint?: string): never => {
    throw errors.opUnsupported(node.name, node.op, 'Training', reason, hint);
  };
  if (node.input(1) !== null && !(source instanceof Tensor)) unsupported('its ratio is not a constant');
  if (node.outputs.slice(1).some((output) => output.uses.length > 0 || output.isGraphOutput))
    unsupported('its mask is used');
  const { shape } = x;
  if (shape === undefined) return unsupported('the shape of its input is not known', FIX_SHAPES);
  const symbols = new Set(graph.inputs.flatMap(({ shape: dims }) => dims ?? []));
  if (shape.some((dim) => dim === null || !(typeof dim === 'number' || symbols.has(dim)))) {
    unsupported(
      `the size [${shape.join(', ')}] of its mask does not follow from the sizes of the inputs`,
      FIX_SHAPES,
    );
  }
  const mask = graph.addInput(graph.uniqueName(`mask:${node.output().name}`), tensorType('float32', shape));
  const like = x.dtype ?? 'float32';
  const product = graph.addNode({ opType: 'Mul', inputs: [x, mask], name: node.name }, 1, { before: node });
  if (like !== 'float32') {
    const cast = graph.addNode(
      { opType: 'Cast', inputs: [mask], attributes: new Map([['to', attribute.int(dtypes[like].onnx)]]) },
      1,
      { before: product },
    );
    graph.setInput(product, 1, cast.output());
  }
  product.output().type = x.type;
  graph.replaceAllUses(node.output(), product.output());
  graph.remove(node);
  return { name: mask.name, shape, ratio };
}
