import { formatShape } from '../errors/catalogue.ts';
import { type Dim, formatType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import { type VerifyRule, valueSubject } from './scope.ts';

const isDim = (dim: Dim): boolean =>
  dim === null || (typeof dim === 'string' ? dim !== '' : Number.isSafeInteger(dim) && dim >= 0);

/** Whether a declared shape admits the static one: equal rank, and equal dims where a number is declared. */
function admits(declared: readonly Dim[], actual: readonly number[]): boolean {
  return (
    declared.length === actual.length &&
    declared.every((dim, axis) => typeof dim !== 'number' || dim === actual[axis])
  );
}

function constantProblem(value: Value, constant: TensorSource): string | undefined {
  const { type } = value;
  if (type === undefined) return undefined;
  const holds = `${constant.dtype}${formatShape(constant.shape)}`;
  const mismatch = `${valueSubject(value)} is declared as ${formatType(type)}, but holds a constant ${holds}.`;
  if (type.kind !== 'tensor') return mismatch;
  if (type.dtype !== undefined && type.dtype !== constant.dtype) return mismatch;
  if (type.shape !== undefined && !admits(type.shape, constant.shape)) return mismatch;
  return undefined;
}

/** Declared dims are sizes, symbols or unknown. */
const soundDims: VerifyRule = {
  name: 'sound-dims',
  value(value, { report }) {
    const bad = value.shape?.find((dim) => !isDim(dim));
    if (bad !== undefined) {
      report(
        `${valueSubject(value)} has a dim ${JSON.stringify(bad)} in its shape; dims are whole numbers from 0 or symbols.`,
      );
    }
  },
};

/** A constant has the dtype and shape that its value declares. */
const constantTypes: VerifyRule = {
  name: 'constant-types',
  value(value, { report }) {
    const constant =
      value.initializer ??
      (value.producer?.is('Constant') === true ? value.producer.constantSource() : undefined);
    const problem = constant === undefined ? undefined : constantProblem(value, constant);
    if (problem !== undefined) report(problem);
  },
};

/** Rules on the declared types of values. */
export const typeRules: readonly VerifyRule[] = [soundDims, constantTypes];
