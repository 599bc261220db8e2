import { createRng, errors, Tensor, type Value } from '@lithe/core';
import { type Emitter, kaimingUniform } from '@lithe/training';
import { CONTRAST_INPUTS, NEGATIVES } from './contrast-table.ts';
import {
  type DistillationContext,
  type DistillationLoss,
  featureShape,
  rankOf,
  type Tap,
  tapped,
} from './distillation-loss.ts';

/** Options of {@link contrastiveDistillation}. */
export interface ContrastiveOptions extends Tap {
  /** Samples of the training set: the memory has a row for each. */
  readonly samples: number;
  /** Negatives K for each sample, as {@link contrastTable} draws them; 4096 by default. */
  readonly negatives?: number | undefined;
  /** Width of the embeddings; 128 by default. */
  readonly width?: number | undefined;
  /** Temperature of the similarities; 0.07 by default. */
  readonly temperature?: number | undefined;
  /** Share of the old embedding that a memory row keeps; 0.5 by default. */
  readonly momentum?: number | undefined;
  /** Seed of memory and embeddings; 0 by default. */
  readonly seed?: number | undefined;
}

/**
 * Contrastive distillation (Tian et al., "Contrastive Representation Distillation", 2020): the student's embedding of
 * a sample should be like the teacher's of the same sample and unlike those of others, told apart by noise-contrastive
 * estimation (equations 17 to 19 and appendix) against two memories with one row per sample. Features are flattened
 * and embedded by learned linear maps, which are left behind. Needs a table from {@link contrastTable} with the same number
 * of negatives.
 *
 * Memory of a step: 4 N K width bytes for each of the two memories, N samples with K negatives.
 *
 * @throws {LitheError} OPTIONS_INVALID when a number makes no sense
 */
export function contrastiveDistillation(options: ContrastiveOptions): DistillationLoss {
  const { samples, width = 128, temperature = 0.07, momentum = 0.5, seed = 0 } = options;
  const { negatives: count = NEGATIVES } = options;
  const whole = (value: number, least: number): boolean => Number.isSafeInteger(value) && value >= least;
  if (!whole(samples, 2) || !whole(count, 1) || !whole(width, 1))
    throw errors.optionsInvalid('contrastiveDistillation', [
      '"samples" must be a whole number above 1, "negatives" and "width" above 0.',
    ]);
  if (!(temperature > 0 && Number.isFinite(temperature)) || !(momentum >= 0 && momentum < 1))
    throw errors.optionsInvalid('contrastiveDistillation', [
      '"temperature" must be above 0 and "momentum" in [0, 1).',
    ]);
  const taps = `${options.student}:${options.teacher ?? options.student}`;
  return {
    name: `contrast (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const values = tapped(context, options);
      const rng = createRng(seed);
      const embed = (value: Value, side: string): Value =>
        embedding(context, value, { name: `contrast:${taps}:${side}`, width, rng });
      const [ours, theirs] = [embed(values.student, 'student'), embed(values.teacher, 'teacher')];
      const index = context.target(CONTRAST_INPUTS.index, 'int64', [values.student.shape?.[0] ?? null]);
      const negatives = context.target(CONTRAST_INPUTS.negatives, 'int64', [
        values.student.shape?.[0] ?? null,
        count,
      ]);
      const column = emit.op('Unsqueeze', [index, emit.ints([1])]);
      const drawn = emit.op('Concat', [column, negatives], { axis: 1 });
      const noise = { samples, negatives: count, drawn, temperature };
      const terms = [
        { name: 'student', own: ours, other: theirs },
        { name: 'teacher', own: theirs, other: ours },
      ].map(({ name, own, other }) => {
        const memory = context.state(`memory:${name}`, firstMemory(samples, width, rng));
        const loss = contrast(context, { name, memory: memory.input, anchor: other, ...noise });
        memory.finish(
          remembered(emit, { memory: memory.input, column, embedding: context.detach(own), momentum }),
        );
        return loss;
      });
      return emit.add(terms[0] as Value, terms[1] as Value);
    },
  };
}

/** Rows drawn evenly from +-1 / sqrt(width / 3), as in the paper's code: about length 1. */
function firstMemory(rows: number, width: number, rng: { next(): number }): Tensor<'float32'> {
  const bound = 1 / Math.sqrt(width / 3);
  const values = new Float32Array(rows * width);
  for (let at = 0; at < values.length; at++) values[at] = (2 * rng.next() - 1) * bound;
  return Tensor.from('float32', [rows, width], values);
}

function embedding(
  context: DistillationContext,
  value: Value,
  {
    name,
    width,
    rng,
  }: { readonly name: string; readonly width: number; readonly rng: ReturnType<typeof createRng> },
): Value {
  const { emit } = context;
  const from = featureShape(value, 'contrastiveDistillation')
    .slice(1)
    .reduce<number>((product, dim) => product * (dim as number), 1);
  const rows = rankOf(value) === 2 ? value : emit.op('Flatten', [value]);
  const draw = kaimingUniform({ slope: Math.sqrt(5) });
  const weight = context.parameter(
    `${name}.weight`,
    draw({ shape: [from, width], fanIn: from, fanOut: width, rng }),
  );
  const bias = context.parameter(`${name}.bias`, Tensor.from('float32', [width], new Float32Array(width)));
  return unit(emit, emit.add(emit.matmul(rows, weight), bias));
}

function unit(emit: Emitter, rows: Value): Value {
  return emit.div(rows, emit.op('Sqrt', [emit.shift(emit.sum(emit.mul(rows, rows), [1], true), 1e-24)]));
}

interface ContrastRequest {
  readonly name: string;
  readonly memory: Value;
  readonly anchor: Value;
  readonly samples: number;
  readonly negatives: number;
  readonly drawn: Value;
  readonly temperature: number;
}

/** Loss of one side: -log h of the positive - sum of log (1 - h) of the negatives, per sample. */
function contrast(context: DistillationContext, request: ContrastRequest): Value {
  const { emit } = context;
  const { name, memory, anchor, samples, negatives, drawn, temperature } = request;
  const rows = emit.op('Gather', [memory, drawn], { axis: 0 });
  const products = emit.op('Squeeze', [
    emit.matmul(rows, emit.op('Unsqueeze', [anchor, emit.ints([2])])),
    emit.ints([2]),
  ]);
  const raw = emit.op('Exp', [emit.scale(products, 1 / temperature)]);
  // The normalizing constant is estimated on the first batch and kept.
  const kept = context.state(`normalizer:${name}`, Tensor.from('float32', [], Float32Array.of(0)));
  const estimate = context.detach(emit.scale(emit.op('ReduceMean', [raw], { keepdims: 0 }), samples));
  const normalizer = emit.op('Where', [
    emit.op('Greater', [kept.input, emit.scalar(0)]),
    kept.input,
    estimate,
  ]);
  kept.finish(emit.op('Identity', [normalizer]));
  const scores = emit.div(raw, normalizer);
  const positive = emit.op('Slice', [scores, emit.ints([0]), emit.ints([1]), emit.ints([1])]);
  const others = emit.op('Slice', [
    scores,
    emit.ints([1]),
    emit.ints([Number.MAX_SAFE_INTEGER]),
    emit.ints([1]),
  ]);
  // K Pn, with noise that is even over all samples.
  const share = negatives / samples;
  const hit = emit.op('Log', [emit.div(positive, emit.shift(positive, share + 1e-7))]);
  const missed = emit.op('Log', [emit.div(emit.scalar(share), emit.shift(others, share + 1e-7))]);
  const each = emit.add(emit.sum(hit, [1], false), emit.sum(missed, [1], false));
  return emit.neg(emit.op('ReduceMean', [each], { keepdims: 0 }));
}

/** The memory with the rows of the batch moved towards their new embeddings, at length 1. */
function remembered(
  emit: Emitter,
  {
    memory,
    column,
    embedding: fresh,
    momentum,
  }: { readonly memory: Value; readonly column: Value; readonly embedding: Value; readonly momentum: number },
): Value {
  const old = emit.op('GatherND', [memory, column]);
  const moved = unit(emit, emit.add(emit.scale(old, momentum), emit.scale(fresh, 1 - momentum)));
  return emit.op('ScatterND', [memory, column, moved]);
}
