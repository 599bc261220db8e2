import { mergeDims } from '../ir/dims.ts';
import type { Dim, ValueType } from '../ir/types.ts';

/** Which of two statements about a type to believe where they differ. */
export interface MergedType {
  /** What both say together. Where they contradict each other, what the first says. */
  readonly type: ValueType | undefined;
  /** Whether they contradict each other. */
  readonly conflict: boolean;
}

/**
 * Merges an inferred type with a declared one: numbers win over symbols, inferred expressions over declared names,
 * declared names over symbols that inference made up.
 *
 * @param isFresh whether a symbol was made up by this run of inference
 */
export function mergeTypes(
  inferred: ValueType | undefined,
  declared: ValueType | undefined,
  isFresh: (symbol: string) => boolean,
): MergedType {
  if (inferred === undefined || declared === undefined)
    return { type: inferred ?? declared, conflict: false };
  if (inferred.kind !== declared.kind) return { type: inferred, conflict: true };
  if (inferred.kind === 'sequence' || inferred.kind === 'optional') {
    const element = mergeTypes(inferred.element, (declared as typeof inferred).element, isFresh);
    return {
      type: element.type === undefined ? inferred : { kind: inferred.kind, element: element.type },
      conflict: element.conflict,
    };
  }
  if (inferred.kind !== 'tensor' || declared.kind !== 'tensor') return { type: inferred, conflict: false };
  const dtypeConflict =
    inferred.dtype !== undefined && declared.dtype !== undefined && inferred.dtype !== declared.dtype;
  const dtype = inferred.dtype ?? declared.dtype;
  const { shape, conflict } = mergeShapes(inferred.shape, declared.shape, isFresh);
  return { type: { kind: 'tensor', dtype, shape }, conflict: dtypeConflict || conflict };
}

function mergeShapes(
  inferred: readonly Dim[] | undefined,
  declared: readonly Dim[] | undefined,
  isFresh: (symbol: string) => boolean,
): { readonly shape: readonly Dim[] | undefined; readonly conflict: boolean } {
  if (inferred === undefined || declared === undefined)
    return { shape: inferred ?? declared, conflict: false };
  if (inferred.length !== declared.length) return { shape: inferred, conflict: true };
  let conflict = false;
  const shape = inferred.map((dim, axis) => {
    const other = declared[axis] ?? null;
    if (typeof dim === 'string' && isFresh(dim) && other !== null) return other;
    const merged = mergeDims(dim, other);
    if (merged === undefined) conflict = true;
    return merged === undefined ? dim : merged;
  });
  return { shape, conflict };
}

/** The dims and dtype that two types share, for values that may be either: dims that differ are unknown. */
export function commonType(left: ValueType | undefined, right: ValueType | undefined): ValueType | undefined {
  if (left === undefined || right === undefined || left.kind !== right.kind) return undefined;
  if (left.kind === 'sequence' || left.kind === 'optional') {
    const element = commonType(left.element, (right as typeof left).element);
    return element === undefined ? undefined : { kind: left.kind, element };
  }
  if (left.kind !== 'tensor' || right.kind !== 'tensor') return left;
  const dtype = left.dtype === right.dtype ? left.dtype : undefined;
  const same = left.shape !== undefined && left.shape.length === right.shape?.length;
  const shape = same ? left.shape?.map((dim, axis) => (dim === right.shape?.[axis] ? dim : null)) : undefined;
  return { kind: 'tensor', dtype, shape };
}

/** Fills the unknown dims of a type with symbols. */
export function withSymbols(type: ValueType | undefined, fresh: () => string): ValueType | undefined {
  if (type?.kind === 'tensor') {
    if (type.shape?.includes(null) !== true) return type;
    return { ...type, shape: type.shape.map((dim) => dim ?? fresh()) };
  }
  // Elements of a sequence may differ in size, so that a symbol there would say too much.
  return type;
}
