import { type Attribute, type Model, Tensor, type Value } from '@lithe/core';
import { contentHash } from '../checkpoint/content-hash.ts';
import type { TrainingStep } from '../step/training-step.ts';
import type { FitOptions } from './fit-options.ts';
import { constantSchedule } from './schedule.ts';

/** What makes two runs the same, part by part: a run goes on from a checkpoint only when all parts are equal. */
export type RunIdentity = Readonly<Record<string, string | number | boolean>>;

/** Names of the parts that differ. */
export function differences(left: RunIdentity, right: RunIdentity): readonly string[] {
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .filter((part) => left[part] !== right[part])
    .sort();
}

/** Points at which a schedule is looked at: it is a function, and two are taken for one where they agree there. */
const SCHEDULE_POINTS = 32;

/**
 * The identity of a run. Loss, optimizer, groups and clipping are in its graph; the first weights are in its state, and
 * those that do not learn, such as a teacher's, are constants of the graph.
 */
export async function runIdentity(
  step: TrainingStep,
  options: FitOptions,
  data: { readonly samples: number; readonly stepsPerEpoch: number },
): Promise<RunIdentity> {
  const { epochs, batchSize, learningRate, schedule = constantSchedule(), seed = 0 } = options;
  const steps = epochs * data.stepsPerEpoch;
  const rates = Array.from({ length: SCHEDULE_POINTS }, (_, index) => {
    const at = Math.floor((index * (steps - 1)) / (SCHEDULE_POINTS - 1));
    return learningRate * schedule({ step: at, steps, epoch: Math.floor(at / data.stepsPerEpoch) });
  });
  return {
    'training graph': hashText(graphText(step)),
    'fixed weights': await hashConstants(step.model),
    'first weights': hashState(step),
    samples: data.samples,
    batchSize,
    dropLast: options.dropLast ?? true,
    epochs,
    'learning rates': rates.join(),
    seed,
    augmentations: options.augment?.length ?? 0,
    evaluated: options.evaluate !== undefined,
    patience: options.patience ?? -1,
    keepBest: options.keepBest ?? true,
  };
}

/** Constants of up to this many bytes are settings of the step, such as bounds; larger ones are weights. */
const SMALL_BYTES = 64;

/** A graph as text: nodes with attributes, shapes of inputs, small constants by value, and the shares that Dropout drops. */
function graphText({ model: { graph }, masks }: TrainingStep): string {
  const lines: string[] = masks.map(({ name, ratio }) => `${name}*${ratio}`);
  const shown = (value: Value | null): string => value?.name ?? '';
  for (const { name, initializer } of graph.initializers) {
    const small = initializer instanceof Tensor && initializer.byteLength <= SMALL_BYTES;
    lines.push(
      `${name}:${initializer?.dtype}[${initializer?.shape.join()}]${small ? textOf(initializer) : ''}`,
    );
  }
  for (const value of graph.inputs) lines.push(`${value.name}:${value.dtype}[${value.shape?.join()}]`);
  for (const node of graph.nodesDeep()) {
    const attributes = [...node.attributes].map(([name, value]) => `${name}=${attributeText(value)}`).sort();
    lines.push(
      `${node.op}(${node.inputs.map(shown).join()})${attributes.join(';')}>${node.outputs.map(shown).join()}`,
    );
  }
  return lines.join('\n');
}

function attributeText(attribute: Attribute): string {
  switch (attribute.kind) {
    case 'int':
    case 'float':
    case 'string':
      return String(attribute.value);
    case 'ints':
    case 'floats':
    case 'strings':
      return attribute.value.join();
    case 'tensor':
      return attribute.value instanceof Tensor ? textOf(attribute.value) : attribute.kind;
    default:
      return attribute.kind;
  }
}

const textOf = (tensor: Tensor): string =>
  tensor.dtype === 'string' ? tensor.data.join('\u0000') : tensor.bytes.join();

/** Large constants by what they hold, one in memory at a time where they lie in a file. */
async function hashConstants({ graph }: Model): Promise<string> {
  const hash = contentHash();
  const encoder = new TextEncoder();
  for (const { name, initializer } of graph.initializers) {
    if (initializer === undefined || initializer.byteLength <= SMALL_BYTES) continue;
    hash.add(encoder.encode(name));
    const tensor = await initializer.load();
    hash.add(tensor.dtype === 'string' ? encoder.encode(textOf(tensor)) : tensor.bytes);
  }
  return hash.text();
}

function hashState(step: TrainingStep): string {
  const hash = contentHash();
  for (const { input, initial } of step.state) {
    hash.add(new TextEncoder().encode(input));
    hash.add(initial.bytes);
  }
  return hash.text();
}

function hashText(text: string): string {
  const hash = contentHash();
  hash.add(new TextEncoder().encode(text));
  return hash.text();
}
