import { attribute, constantOf, type Graph, type Node, Tensor, tensorType, type Value } from '@lithe/core';
import type { DropoutMask } from './training-step.ts';

/** A running statistic that a training step keeps. */
export interface RunningStatistic {
  /** Graph input that holds it. */
  readonly input: Value;
  /** Value after the step. */
  readonly output: Value;
  /** Value before the first step. */
  readonly initial: Tensor;
}

/** What {@link trainingForm} made. */
export interface TrainingForm {
  /** Running statistics of BatchNormalization. */
  readonly statistics: readonly RunningStatistic[];
  /** Random masks of Dropout. */
  readonly masks: readonly DropoutMask[];
}

/**
 * Brings the operators that behave differently in training to their training form: BatchNormalization uses the
 * statistics of the batch and updates the running ones; Dropout multiplies by a mask that is fed, so that every
 * backend drops the same elements and a resumed run goes on exactly as it would have.
 */
export async function trainingForm(graph: Graph): Promise<TrainingForm> {
  const statistics: RunningStatistic[] = [];
  const masks: DropoutMask[] = [];
  for (const node of graph.nodes()) {
    if (node.is('BatchNormalization')) statistics.push(...(await batchNormalization(graph, node)));
    else if (node.is('Dropout')) {
      const mask = dropout(graph, node);
      if (mask !== undefined) masks.push(mask);
    }
  }
  return { statistics, masks };
}

async function batchNormalization(graph: Graph, node: Node): Promise<RunningStatistic[]> {
  const [mean, variance] = [node.input(3), node.input(4)];
  const sources = [constantOf(mean), constantOf(variance)];
  if (mean === null || variance === null || sources.some((source) => source === undefined)) return [];
  graph.setAttribute(node, 'training_mode', attribute.int(1));
  const found: RunningStatistic[] = [];
  for (const [index, value] of [mean, variance].entries()) {
    const initial = await (sources[index] as NonNullable<(typeof sources)[number]>).load();
    const output = node.outputs[index + 1] ?? graph.addOutputOf(node);
    graph.rename(output, graph.uniqueName(`next:${value.name}`));
    graph.setInputs([...graph.inputs, value]);
    graph.setInitializer(value, undefined);
    value.type = tensorType(initial.dtype, initial.shape);
    found.push({ input: value, output, initial });
  }
  return found;
}

function dropout(graph: Graph, node: Node): DropoutMask | undefined {
  const x = node.input(0) as Value;
  const source = constantOf(node.input(1));
  const ratio = source instanceof Tensor ? (source.toFloat64Array()[0] as number) : 0.5;
  if (ratio === 0) return undefined;
  const mask = graph.addInput(
    graph.uniqueName(`mask:${node.output().name}`),
    x.type ?? tensorType('float32'),
  );
  const product = graph.addNode({ opType: 'Mul', inputs: [x, mask], name: node.name }, 1, { before: node });
  product.output().type = x.type;
  graph.replaceAllUses(node.output(), product.output());
  graph.remove(node);
  return { name: mask.name, shape: x.shape ?? [], ratio };
}
