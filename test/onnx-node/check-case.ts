import { inferShapes, isLitheError, type Model, Tensor, type ValueType } from '@lithe/core';
import { evaluateValues, type ReferenceValue, referenceKernels } from '@lithe/core/reference';
import { readOnnx, readValueProto, writeOnnx } from '@lithe/onnx';
import type { CaseData, NodeCase } from './archive.ts';
import { differenceOf } from './compare.ts';
import { toleranceOf } from './tolerances.ts';

/** What became of a case. Lists hold one sentence per problem; empty lists mean that all is well. */
export interface CaseResult {
  /** Operators without kernel; the values of such a case are not checked. */
  readonly missing: readonly string[];
  /** Results that are not the expected ones, before and after a round trip through our writer. */
  readonly values: readonly string[];
  /** Inferred types that contradict the expected results. */
  readonly types: readonly string[];
  /** Outputs, and those among them whose inferred type is complete. */
  readonly outputs: number;
  /** See {@link outputs}. */
  readonly fullyTyped: number;
}

/** Runs every check on a case. */
export async function checkCase(item: NodeCase): Promise<CaseResult> {
  const model = await readOnnx(item.model, { name: item.name });
  const missing = [...new Set([...model.graph.nodesDeep()].map((node) => node.op))].filter(
    (op) => !canRun(model, op),
  );
  const runs = item.runs.map((run) => ({ feeds: feedsOf(model, run), expected: expectedOf(model, run) }));
  const values: string[] = [];
  if (missing.length === 0) {
    // Asking for value info makes the writer encode what it would otherwise hand back as the file's own bytes.
    const rewritten = await readOnnx(await writeOnnx(model, { valueInfo: 'declared' }), { name: item.name });
    for (const run of runs) {
      values.push(...(await differences(model, run, item.name)));
      values.push(
        ...(await differences(rewritten, run, item.name)).map((problem) => `After a round trip: ${problem}`),
      );
    }
  }
  return { missing, values, ...(await checkTypes(model, runs[0]?.expected ?? [])) };
}

interface Run {
  readonly feeds: Readonly<Record<string, ReferenceValue>>;
  readonly expected: readonly ReferenceValue[];
}

async function differences(model: Model, { feeds, expected }: Run, name: string): Promise<string[]> {
  try {
    const results = await evaluateValues(model, feeds);
    return model.graph.outputs.flatMap((output, index) => {
      const problem = differenceOf(
        results[output.name] ?? null,
        expected[index] as ReferenceValue,
        toleranceOf(name),
      );
      return problem === undefined ? [] : [`Output "${output.name}": ${problem}.`];
    });
  } catch (error) {
    if (!isLitheError(error)) throw error;
    return [error.message];
  }
}

function canRun(model: Model, op: string): boolean {
  return referenceKernels[op] !== undefined || model.functions.some((item) => op.endsWith(item.name));
}

function feedsOf(model: Model, run: CaseData): Record<string, ReferenceValue> {
  const feeds: Record<string, ReferenceValue> = {};
  model.graph.inputs.forEach((input, index) => {
    const bytes = run.inputs[index];
    if (bytes !== undefined) feeds[input.name] = readAs(bytes, input.type);
  });
  return feeds;
}

function expectedOf(model: Model, run: CaseData): readonly ReferenceValue[] {
  return run.outputs.map((bytes, index) => readAs(bytes, model.graph.outputs[index]?.type));
}

function readAs(bytes: Uint8Array, type: ValueType | undefined): ReferenceValue {
  const value = readValueProto(bytes, type === undefined || type.kind === 'opaque' ? 'tensor' : type.kind);
  // ONNX's generator had no bfloat16: its files say uint16, which are the same bits.
  const relabelled =
    value instanceof Tensor &&
    value.dtype === 'uint16' &&
    type?.kind === 'tensor' &&
    type.dtype === 'bfloat16';
  return relabelled ? Tensor.fromBytes('bfloat16', value.shape, value.bytes) : value;
}

/** Forgets what the file declares of its outputs, infers it, and compares it with the expected results. */
async function checkTypes(
  model: Model,
  expected: readonly ReferenceValue[],
): Promise<Pick<CaseResult, 'types' | 'outputs' | 'fullyTyped'>> {
  const types: string[] = [];
  for (const node of model.graph.nodesDeep()) for (const value of node.outputs) value.type = undefined;
  const report = await inferShapes(model, { strict: false });
  types.push(...report.problems);
  let fullyTyped = 0;
  model.graph.outputs.forEach((output, index) => {
    const want = expected[index];
    if (want === undefined) return;
    const problem = contradiction(output.type, want);
    if (problem !== undefined) types.push(`output "${output.name}": ${problem}.`);
    if (isComplete(output.type)) fullyTyped++;
  });
  return { types, outputs: model.graph.outputs.length, fullyTyped };
}

function isComplete(type: ValueType | undefined): boolean {
  if (type === undefined) return false;
  return (
    type.kind !== 'tensor' ||
    (type.dtype !== undefined && type.shape?.every((dim) => typeof dim === 'number') === true)
  );
}

/** Why a value cannot have this type, or `undefined`. */
function contradiction(type: ValueType | undefined, value: ReferenceValue): string | undefined {
  if (type === undefined || type.kind === 'opaque') return undefined;
  if (value instanceof Tensor) {
    const inner = type.kind === 'optional' ? type.element : type;
    if (inner.kind !== 'tensor') return `inferred as ${type.kind}, it is a tensor`;
    if (inner.dtype !== undefined && inner.dtype !== value.dtype)
      return `inferred as ${inner.dtype}, it is ${value.dtype}`;
    const fits = inner.shape?.every((dim, axis) => typeof dim !== 'number' || dim === value.shape[axis]);
    if (inner.shape !== undefined && (inner.shape.length !== value.shape.length || fits !== true)) {
      return `inferred as [${inner.shape.join(', ')}], it is [${value.shape.join(', ')}]`;
    }
    return undefined;
  }
  const wanted = type.kind === 'optional' && value.kind === 'sequence' ? type.element : type;
  if (wanted.kind !== value.kind) return `inferred as ${type.kind}, it is ${value.kind}`;
  if (value.kind === 'optional')
    return value.value === null || wanted.kind !== 'optional'
      ? undefined
      : contradiction(wanted.element, value.value);
  for (const item of value.items) {
    const found = wanted.kind === 'sequence' ? contradiction(wanted.element, item) : undefined;
    if (found !== undefined) return `an item: ${found}`;
  }
  return undefined;
}
