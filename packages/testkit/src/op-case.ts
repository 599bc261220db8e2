import {
  type AnyOpDef,
  errors,
  type Feeds,
  GraphBuilder,
  type Model,
  microsoftOpDefs,
  type OpSet,
  standardOps,
  type Tensor,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { expectClose, type Tolerance, toleranceOf } from './tolerance.ts';

/** A case of one operator, as data: what goes in, and what must come out. */
export interface OpCase {
  /** `Operator/what is special about it`. */
  readonly name: string;
  /** Operator name. */
  readonly op: string;
  /** Operator set; `ai.onnx` by default. */
  readonly domain?: string | undefined;
  /** Attributes, as the graph builder takes them. */
  readonly attributes?: Readonly<Record<string, unknown>> | undefined;
  /** Inputs; `null` for one left out. */
  readonly inputs: readonly (Tensor | null)[];
  /** Which inputs are constants of the model rather than fed. */
  readonly constants?: readonly number[] | undefined;
  /** Number of outputs; the operator's required ones by default. */
  readonly outputs?: number | undefined;
  /** What must come out, worked out by hand or by other software; or what the reference interpreter gives. */
  readonly expect: readonly Tensor[] | 'reference';
  /** How far results may be off, where the table of {@link toleranceOf} does not fit. Say why beside it. */
  readonly tolerance?: Tolerance | undefined;
}

/** A case without the name of its operator. */
export type OpCaseInit = Omit<OpCase, 'op' | 'name'> & {
  /** What is special about it. */
  readonly name: string;
};

/**
 * Cases of one operator.
 *
 * @param op operator name
 * @param cases the cases; their names are put behind the operator's
 */
export function opCases(op: string, cases: readonly OpCaseInit[]): readonly OpCase[] {
  return cases.map((item) => ({ ...item, op, name: `${op}/${item.name}` }));
}

/** A case that something is known to fail. */
export interface Gap {
  /** Name of a case; `*` stands for any text. */
  readonly case: string;
  /** Why it fails, as a full sentence. */
  readonly reason: string;
  /** Where it is tracked. */
  readonly issue: number | string;
}

/** The gap that covers a case, if any. */
export function gapOf(name: string, gaps: readonly Gap[]): Gap | undefined {
  return gaps.find((gap) => matches(gap.case, name));
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}

/** The gaps that cover no case: they are out of date. */
export function unusedGaps(gaps: readonly Gap[], cases: readonly OpCase[]): readonly Gap[] {
  return gaps.filter((gap) => !cases.some((item) => matches(gap.case, item.name)));
}

/** A case as a model. */
export interface CaseModel {
  /** A model of one node. */
  readonly model: Model;
  /** What it is fed. */
  readonly feeds: Feeds;
}

/**
 * Builds the model of a case: inputs `x0`, `x1`, …, outputs `y0`, `y1`, …
 *
 * @param opset where the operator is looked up; the standard ones by default
 * @throws {LitheError} OP_UNSUPPORTED when the operator is not in `opset`; MODEL_INVALID when the case is not valid
 */
export async function caseModel(item: OpCase, opset: OpSet = standardOps): Promise<CaseModel> {
  const def = definitionOf(item, opset);
  const builder = new GraphBuilder('case');
  const feeds: Record<string, Tensor> = {};
  const inputs = item.inputs.map((tensor, index) => {
    if (tensor === null) return null;
    const name = `x${index}`;
    if (item.constants?.includes(index) === true) return builder.constant(name, tensor);
    feeds[name] = tensor;
    return builder.input(name, tensor.dtype, tensor.shape);
  });
  const outputs = builder.call(def, inputs, (item.attributes ?? {}) as never, {
    name: item.op,
    outputs: item.outputs,
  });
  outputs.forEach((value, index) => {
    builder.output(`y${index}`, value);
  });
  return { model: await builder.build(), feeds };
}

function definitionOf(item: OpCase, opset: OpSet): AnyOpDef {
  const def =
    opset.get(item.domain ?? '', item.op) ??
    (Object.values(microsoftOpDefs) as unknown as AnyOpDef[]).find(
      (one) => one.type === item.op && one.domain === item.domain,
    );
  if (def === undefined)
    throw errors.opUnsupported(
      item.name,
      item.op,
      'The conformance suite',
      'its operator set does not define it',
    );
  return def;
}

/** Runs the model of a case; gives its outputs by name. */
export type RunCase = (built: CaseModel) => Promise<Readonly<Record<string, Tensor>>>;

/**
 * Runs a case and compares what comes out.
 *
 * @throws {LitheError} CONFORMANCE_FAILED when it differs; whatever `run` throws
 */
export async function checkCase(item: OpCase, run: RunCase, opset?: OpSet): Promise<void> {
  const built = await caseModel(item, opset);
  const names = built.model.graph.outputs.map((value) => value.name);
  const actual = await run(built);
  const reference = item.expect === 'reference' ? await evaluateModel(built.model, built.feeds) : undefined;
  names.forEach((name, index) => {
    const expected = reference === undefined ? (item.expect as readonly Tensor[])[index] : reference[name];
    const result = actual[name];
    const label = names.length === 1 ? item.name : `${item.name}, output ${index}`;
    if (expected === undefined || result === undefined)
      throw errors.conformanceFailed(label, 'it is missing.');
    expectClose(result, expected, {
      label,
      tolerance: item.tolerance ?? toleranceOf(item.op, expected.dtype),
    });
  });
}
