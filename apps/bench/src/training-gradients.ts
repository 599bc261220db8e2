import { parseArgs } from 'node:util';
import { inferShapes, Model, Tensor } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { gradients } from '@lithe/training';
import { cases } from '../../../packages/training/test/gradient-cases.ts';
import { build, type Case, label } from '../../../packages/training/test/gradient-check.ts';
import { runPython } from './python-peer.ts';
import { kinks } from './training-gradients/kinks.ts';
import { singles } from './training-gradients/singles.ts';

/** A difference beyond this, relative to the largest number, is a failure. */
const tolerance = 1e-6;

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly learns: boolean;
}

/** What Python needs to do the same, and what came out here. */
interface Compared {
  readonly name: string;
  readonly operator: string;
  readonly job: {
    readonly op: string;
    readonly domain: string;
    readonly attributes: unknown;
    readonly inputs: readonly (Entry | null)[];
    readonly weights: readonly (Entry | null)[];
  };
  readonly loss: number;
  readonly gradients: readonly (readonly number[])[];
}

interface Answer {
  readonly missing?: string;
  readonly error?: string;
  readonly loss?: number;
  readonly gradients?: readonly (readonly number[])[];
}

const entry = (tensor: Tensor, learns: boolean): Entry => ({
  dtype: tensor.dtype,
  shape: tensor.shape,
  values: Array.from(tensor.data as ArrayLike<number | bigint>, Number),
  learns,
});

/** Loss and gradients of a model in the interpreter. */
async function run(
  model: Model,
  feeds: Readonly<Record<string, Tensor>>,
  wrt: readonly string[],
): Promise<Pick<Compared, 'loss' | 'gradients'>> {
  const results = await evaluateModel(await gradients(model, { of: 'loss', wrt }), feeds);
  const numbers = (name: string): readonly number[] => [
    ...((results[name] as Tensor | undefined)?.toFloat64Array() ?? []),
  ];
  return {
    loss: numbers('loss')[0] ?? Number.NaN,
    gradients: wrt.map((name) => numbers(`grad:${name}`)),
  };
}

/** A case computed here; `at` replaces the numbers that are drawn. */
async function ours(item: Case, at: readonly (readonly number[])[] = []): Promise<Compared> {
  const built = await build(item);
  const feeds = { ...built.feeds };
  for (const [index, values] of at.entries()) {
    const drawn = feeds[`x${index}`];
    if (drawn) feeds[`x${index}`] = Tensor.from('float64', drawn.shape, Float64Array.from(values));
  }
  const learns = (name: string): boolean => !(item.constant ?? []).includes(Number(name.slice(1)));
  const wrt = Object.keys(feeds).filter(learns);
  const inputs = item.inputs.map((input, index): Entry | null => {
    if (input === null) return null;
    const fed = feeds[`x${index}`];
    return fed ? entry(fed, learns(`x${index}`)) : entry(input as Tensor, false);
  });
  return {
    name: label(item),
    operator: item.domain === undefined ? item.op : `${item.domain}:${item.op}`,
    job: {
      op: item.op,
      domain: item.domain ?? '',
      attributes: item.attributes ?? {},
      inputs,
      weights: built.weights.map((weight) => (weight === null ? null : entry(weight, false))),
    },
    ...(await run(built.model, feeds, wrt)),
  };
}

/** The operators that the specification has in float32 only. */
async function oursInSingle(): Promise<readonly Compared[]> {
  const results: Compared[] = [];
  for (const { name, op, attributes, graph, inputs, weights } of singles()) {
    const model = new Model({ graph });
    await inferShapes(model);
    const wrt = Object.keys(inputs).filter((input) => inputs[input]?.dtype === 'float32');
    const feeds = Object.fromEntries(wrt.map((input) => [input, inputs[input] as Tensor]));
    const widened = (tensor: Tensor, learns: boolean): Entry => ({
      ...entry(tensor, learns),
      dtype: tensor.dtype === 'float32' ? 'float64' : tensor.dtype,
    });
    const sent = Object.entries(inputs).map(([input, tensor]) => widened(tensor, wrt.includes(input)));
    results.push({
      name,
      operator: op,
      job: { op, domain: '', attributes, inputs: sent, weights: [widened(weights, false)] },
      ...(await run(model, feeds, wrt)),
    });
  }
  return results;
}

/** Largest difference relative to the largest number of theirs; of zeros, the difference itself. */
function apart(mine: readonly number[], theirs: readonly number[]): number {
  if (mine.length !== theirs.length) return Number.POSITIVE_INFINITY;
  const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = mine.reduce((most, value, at) => {
    const difference = Math.abs(value - (theirs[at] as number));
    return difference <= most ? most : Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }, 0);
  return largest === 0 ? worst : worst / largest;
}

interface Line {
  cases: number;
  loss: number;
  gradient: number;
}

/** Writes the table of operators; whether nothing failed. */
function report(mine: readonly Compared[], theirs: readonly Answer[]): boolean {
  const table = new Map<string, Line>();
  const missing: string[] = [];
  const failed: string[] = [];
  mine.forEach((item, at) => {
    const answer = theirs[at] ?? { error: 'no answer' };
    if (answer.missing !== undefined) {
      missing.push(`${item.name}: ${answer.missing}`);
      return;
    }
    if (answer.loss === undefined || answer.gradients === undefined) {
      failed.push(`${item.name}: ${answer.error ?? 'no answer'}`);
      return;
    }
    const loss = apart([item.loss], [answer.loss]);
    const other = answer.gradients;
    const gradient =
      item.gradients.length === other.length
        ? Math.max(0, ...item.gradients.map((values, index) => apart(values, other[index] ?? [])))
        : Number.POSITIVE_INFINITY;
    const line = table.get(item.operator) ?? { cases: 0, loss: 0, gradient: 0 };
    line.cases += 1;
    line.loss = Math.max(line.loss, loss);
    line.gradient = Math.max(line.gradient, gradient);
    table.set(item.operator, line);
    if (loss > tolerance || gradient > tolerance) {
      failed.push(`${item.name}: loss ${loss.toExponential(1)}, gradient ${gradient.toExponential(1)} apart`);
    }
  });
  const lines = [...table].map(
    ([operator, { cases: count, loss, gradient }]) =>
      `${operator.padEnd(34)}${String(count).padStart(5)}${loss.toExponential(1).padStart(12)}${gradient.toExponential(1).padStart(17)}\n`,
  );
  const list = (title: string, items: readonly string[]): string =>
    items.length === 0 ? '' : `\n${title}\n${items.map((item) => `  ${item}\n`).join('')}`;
  const compared = [...table.values()].reduce((sum, line) => sum + line.cases, 0);
  process.stdout.write(
    `operator                          cases  loss apart  gradient apart\n${lines.join('')}\n` +
      `${table.size} operators, ${compared} of ${mine.length} cases compared, ${failed.length} failed (beyond ${tolerance}).\n` +
      list('Not compared, for PyTorch does not have it:', missing) +
      list('Failed:', failed),
  );
  return failed.length === 0;
}

/** Writes which of the possible slopes each side takes where there is more than one; whether all of ours are finite. */
function reportKinks(mine: readonly Compared[], theirs: readonly Answer[]): boolean {
  process.stdout.write('\nwhere a slope jumps or is shared       ours                PyTorch\n');
  mine.forEach((item, at) => {
    const weight = item.job.weights[0]?.values[0] ?? 1;
    const plain = (gradient: readonly (readonly number[])[]): string =>
      gradient
        .flat()
        .map((value) => value / weight)
        .map((value) =>
          Math.abs(value) > 1e4 ? value.toExponential(1) : String(Number(value.toFixed(3)) + 0),
        )
        .join(' ');
    const [left, right] = [plain(item.gradients), plain(theirs[at]?.gradients ?? [])];
    process.stdout.write(
      `${(kinks[at]?.what ?? item.name).padEnd(39)}${left.padEnd(20)}${(theirs[at]?.error ?? theirs[at]?.missing ?? right).padEnd(18)}${left === right ? '' : '  differ'}\n`,
    );
  });
  return mine.every((item) => item.gradients.flat().every(Number.isFinite));
}

/**
 * Compares the gradient rules of @lithe/training with PyTorch's automatic differentiation in float64, on the cases
 * that are also checked against central differences: `--python FILE` names an interpreter that has torch. Fails when a
 * loss or a gradient differs by more than 1e-6 of the largest number. Where a function has no one slope both
 * conventions are printed, and only one of ours that is not finite fails.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { python: { type: 'string', default: 'python3' } },
  });
  const smooth: Compared[] = [];
  for (const item of cases) smooth.push(await ours(item));
  smooth.push(...(await oursInSingle()));
  const sharp: Compared[] = [];
  for (const { item, at } of kinks) sharp.push(await ours(item, at));
  const { version, results } = runPython<{
    readonly version: string;
    readonly results: readonly Answer[];
  }>({
    python: values.python,
    script: 'training_gradients.py',
    input: [...smooth, ...sharp].map(({ job }) => job),
    needs: 'torch',
  });
  process.stdout.write(`Gradients beside PyTorch ${version}, float64\n\n`);
  const passed = report(smooth, results.slice(0, smooth.length));
  const finite = reportKinks(sharp, results.slice(smooth.length));
  return passed && finite ? 0 : 1;
}
