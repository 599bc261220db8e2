import { attr } from '../../op/attributes.ts';
import { stridesOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, fromStore, isWide, makeStore, toBigints, walk } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';

/** Labels of the axes of one operand; an ellipsis is written out as `…0`, `…1` and so on, counted from its end. */
function labelsOf(context: KernelContext, term: string, rank: number): string[] {
  const [before = '', after, ...rest] = term.split('...');
  if (rest.length > 0 || !/^[A-Za-z]*$/.test(before + (after ?? '')))
    context.fail(`the term "${term}" is not valid`);
  if (after === undefined) {
    if (term.length !== rank) context.fail(`the term "${term}" names ${term.length} axes of ${rank}`);
    return [...term];
  }
  const hidden = rank - before.length - after.length;
  if (hidden < 0) context.fail(`the term "${term}" names more axes than ${rank}`);
  return [...before, ...Array.from({ length: hidden }, (_, index) => `…${hidden - 1 - index}`), ...after];
}

/** ONNX `Einsum` (opset 12): sums of products over the labels that the output leaves out. */
const einsum: ReferenceKernel = (context) => {
  const { equation } = context.attributes({ equation: attr.requiredString() });
  const operands = context.inputs.map((_, index) => context.tensor(index));
  const [left = '', right] = equation.replace(/\s+/g, '').split('->');
  const terms = left.split(',');
  if (terms.length !== operands.length)
    context.fail(`"${equation}" has ${terms.length} terms for ${operands.length} inputs`);
  const labels = operands.map((operand, index) => labelsOf(context, terms[index]!, operand.shape.length));
  const dims = new Map<string, number>();
  operands.forEach((operand, index) => {
    labels[index]!.forEach((label, axis) => {
      const dim = operand.shape[axis]!;
      const known = dims.get(label);
      if (known === undefined || known === 1) dims.set(label, dim);
      else if (dim !== 1 && dim !== known) context.fail(`label "${label}" has sizes ${known} and ${dim}`);
    });
  });
  const output = outputLabels(context, right, labels, dims);
  const summed = [...dims.keys()].filter((label) => !output.includes(label));
  return [contract(context, operands, { labels, dims, output, summed })];
};

function outputLabels(
  context: KernelContext,
  right: string | undefined,
  labels: readonly string[][],
  dims: ReadonlyMap<string, number>,
): string[] {
  const hidden = [...dims.keys()]
    .filter((label) => label.startsWith('…'))
    .sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  if (right === undefined) {
    const flat = labels.flat().filter((label) => !label.startsWith('…'));
    return [...hidden, ...flat.filter((label) => flat.indexOf(label) === flat.lastIndexOf(label)).sort()];
  }
  const [before = '', after = ''] = right.split('...');
  const wanted = right.includes('...') ? [...before, ...hidden, ...after] : [...right];
  for (const label of wanted)
    if (!dims.has(label)) context.fail(`the output label "${label}" is in no input`);
  return wanted;
}

interface Contraction {
  readonly labels: readonly string[][];
  readonly dims: ReadonlyMap<string, number>;
  readonly output: readonly string[];
  readonly summed: readonly string[];
}

function contract(context: KernelContext, operands: readonly Tensor[], plan: Contraction): Tensor {
  const sizesOf = (names: readonly string[]): number[] => names.map((name) => plan.dims.get(name) ?? 0);
  const shape = sizesOf(plan.output);
  const { dtype } = operands[0]!;
  const total = context.guard(dtype, shape);
  context.guard('int32', sizesOf(plan.summed));
  const walks = operands.map((operand, index) => {
    const own = stridesOf(operand.shape);
    const strideOf = (name: string): number =>
      plan.labels[index]!.reduce(
        (sum, label, axis) => (label === name && operand.shape[axis] !== 1 ? sum + own[axis]! : sum),
        0,
      );
    return {
      bases: walk(shape, plan.output.map(strideOf)),
      offsets: walk(sizesOf(plan.summed), plan.summed.map(strideOf)),
    };
  });
  const terms = walks[0]!.offsets.length;
  if (isWide(dtype)) {
    const data = operands.map(toBigints);
    const out = makeStore(dtype, total) as BigInt64Array;
    for (let index = 0; index < total; index++) {
      for (let term = 0; term < terms; term++) {
        let product = 1n;
        for (let at = 0; at < data.length; at++)
          product *= data[at]![walks[at]!.bases[index]! + walks[at]!.offsets[term]!]!;
        out[index]! += product;
      }
    }
    return fromStore(dtype, shape, out);
  }
  const data = operands.map((operand) => operand.toFloat64Array());
  const out = new Float64Array(total);
  for (let index = 0; index < total; index++) {
    let sum = 0;
    for (let term = 0; term < terms; term++) {
      let product = 1;
      for (let at = 0; at < data.length; at++)
        product *= data[at]![walks[at]!.bases[index]! + walks[at]!.offsets[term]!]!;
      sum += product;
    }
    out[index] = sum;
  }
  return fromNumbers(dtype, shape, out);
}

/** Einstein summation: `ai.onnx`. */
export const einsumKernels: KernelTable = { Einsum: einsum };
