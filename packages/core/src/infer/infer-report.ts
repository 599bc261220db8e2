import type { Dim } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import type { OpSet } from '../op/op-set.ts';

/** How `inferShapes` works. */
export interface InferOptions {
  /** Operators that are known; the standard ones by default. */
  readonly opset?: OpSet | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether the types that the outputs of known operators have so far are dropped rather than merged with what is
   * inferred: for a model whose input sizes or weights were changed. `false` by default.
   */
  readonly overwrite?: boolean | undefined;
  /** Whether a node that contradicts its operator is an error; else it is reported under `problems`. `true` by default. */
  readonly strict?: boolean | undefined;
}

/** A type in the file that inference contradicts. */
export interface InferConflict {
  /** Name of the value. */
  readonly value: string;
  /** Name of the node that makes it. */
  readonly node: string;
  /** The type the file declared. */
  readonly declared: string;
  /** The type that was inferred, which the value has now. */
  readonly inferred: string;
}

/** An operator without definition, or in a form of an older opset that does not fit the definition. */
export interface UnknownOperator {
  /** Operator with its domain. */
  readonly op: string;
  /** Names of its nodes. */
  readonly nodes: readonly string[];
}

/** What `inferShapes` found. */
export interface InferReport {
  /** Values that nodes of the main graph and its subgraphs make. */
  readonly values: number;
  /** Those whose dtype and rank are known, or that are sequences or optionals. */
  readonly typed: number;
  /** Those whose dims are all numbers. */
  readonly fixed: number;
  /** Operators without definition: barriers, whose outputs keep what the file declares. */
  readonly unknown: readonly UnknownOperator[];
  /**
   * Nodes that contradict their operator, as full sentences: those in branches of an `If` that may not be run, and with
   * `strict: false` all of them.
   */
  readonly problems: readonly string[];
  /** Declared types that inference contradicts. */
  readonly conflicts: readonly InferConflict[];
  /**
   * What is known of the elements of integer values that nodes of the main graph make (results of `Shape` and what
   * is computed from them), row-major: numbers, symbols, or `null` for an element that is not known.
   */
  readonly sizes: ReadonlyMap<Value, readonly Dim[]>;
}
