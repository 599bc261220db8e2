import type { Value } from '@lithe/core';
import { type Emitter, huberBetween } from '@lithe/training';
import { checkFactors, type DistillationLoss, rankOf, type Tap, tapped } from './distillation-loss.ts';

/** Options of {@link relationalDistillation}. */
export interface RelationalOptions extends Tap {
  /** Weight of the distances between pairs; 25 by default. */
  readonly distance?: number | undefined;
  /** Weight of the angles of triples; 50 by default. */
  readonly angle?: number | undefined;
}

/**
 * Relational distillation (Park et al., "Relational Knowledge Distillation", 2019): the distances of all pairs of
 * samples, divided by their mean, and the cosines of the angles of all triples, compared by the Huber loss with delta
 * 1. Features are flattened; their numbers may differ. Triples take N^3 elements: meant for batches of some dozens.
 *
 * @throws {LitheError} OPTIONS_INVALID when a weight is not 0 or more
 */
export function relationalDistillation(options: RelationalOptions): DistillationLoss {
  const { distance = 25, angle = 50 } = options;
  checkFactors('relationalDistillation', { distance, angle });
  return {
    name: `relations (${options.student})`,
    build: (context) => {
      const { emit } = context;
      const values = tapped(context, options);
      const rows = (value: Value): Value => (rankOf(value) === 2 ? value : emit.op('Flatten', [value]));
      const [ours, theirs] = [rows(values.student), rows(values.teacher)];
      const terms: Value[] = [];
      if (distance !== 0)
        terms.push(
          emit.scale(
            huberBetween(emit, relativeDistances(emit, ours), relativeDistances(emit, theirs)),
            distance,
          ),
        );
      if (angle !== 0)
        terms.push(emit.scale(huberBetween(emit, angles(emit, ours), angles(emit, theirs)), angle));
      return terms.length === 0
        ? emit.scalar(0, ours.dtype)
        : terms.reduce((left, right) => emit.add(left, right));
    },
  };
}

/** All differences x_j - x_i, `[N, N, D]`. */
function differences(emit: Emitter, rows: Value): Value {
  return emit.sub(emit.op('Unsqueeze', [rows, emit.ints([0])]), emit.op('Unsqueeze', [rows, emit.ints([1])]));
}

/** 1 where two samples differ by more than rounding, else 0; as floats, and a constant for gradients. */
function positive(emit: Emitter, squares: Value): Value {
  return emit.mask(
    emit.op('Greater', [squares, emit.scalar(1e-12, squares.dtype)]),
    squares.dtype ?? 'float32',
  );
}

/** Distances of pairs over the mean of those that are not 0, `[N, N]`. */
function relativeDistances(emit: Emitter, rows: Value): Value {
  const apart = differences(emit, rows);
  const squares = emit.sum(emit.mul(apart, apart), [2], false);
  const counts = positive(emit, squares);
  // On the diagonal the root has no slope: 1e-12 is added there, and the distance taken as 0.
  const lengths = emit.mul(emit.op('Sqrt', [emit.shift(squares, 1e-12)]), counts);
  const total = emit.op('ReduceSum', [lengths], { keepdims: 0 });
  const count = emit.op('Max', [emit.op('ReduceSum', [counts], { keepdims: 0 }), emit.scalar(1, rows.dtype)]);
  return emit.div(lengths, emit.shift(emit.div(total, count), 1e-12));
}

/** cos of the angle at i between j and k, `[N, N, N]`. */
function angles(emit: Emitter, rows: Value): Value {
  const apart = differences(emit, rows);
  const squares = emit.sum(emit.mul(apart, apart), [2], true);
  const directions = emit.mul(
    emit.div(apart, emit.op('Sqrt', [emit.shift(squares, 1e-12)])),
    positive(emit, squares),
  );
  return emit.matmul(directions, emit.transpose(directions, [0, 2, 1]));
}
