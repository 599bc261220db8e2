import { attribute, type Node, type RewriteContext, type RewriteRule, Tensor, type Value } from '@lithe/core';
import { type Affine, readAffine } from '../shared/affine.ts';
import { readLinear, readOnlyBy } from '../shared/linear.ts';
import { allFinite, mapWeight } from '../shared/weights.ts';

/** Operators that runtimes compute in a blocked layout, which element-wise constants would make them leave. */
const blocked: ReadonlySet<string> = new Set([
  'Conv',
  'ConvTranspose',
  'MaxPool',
  'AveragePool',
  'GlobalAveragePool',
  'GlobalMaxPool',
]);

/** What the node itself takes in a file, with the names of its five inputs. */
const NODE_BYTES = 200;

const EPSILON = 1e-5;
/** float32(1 - 1e-5) + float32(1e-5) rounds to 1 exactly, so that the normalization divides by 1. */
const UNIT_VARIANCE = Math.fround(1 - Math.fround(EPSILON));

/** How much a model may grow again after it has shrunk. */
export interface Allowance {
  /** Bytes left. */
  bytes: number;
  /** Numbers of channels for which the shared parameters are there already. */
  readonly widths: Set<number>;
}

/**
 * Makes constants per channel that no convolution could take in (a shift before a padded one) a single
 * BatchNormalization. In onnxruntime a scalar Mul or Add makes the blocked convolutions around it convert their
 * layout twice; BatchNormalization is computed inside the layout, in one sweep.
 *
 * @param allowance how many bytes the model may grow by; asked and charged at each application
 */
export function affineToBatchNormalization(allowance: Allowance): RewriteRule {
  return {
    name: 'simplify/affine-to-batch-normalization',
    summary:
      'Makes a scale and shift by constants between convolutions, which neither could take in, one BatchNormalization.',
    anchors: ['Add', 'Sub', 'Mul'],
    depth: 1,
    async apply(node, context) {
      const output = node.output();
      const channels = output.shape?.[1];
      if (output.dtype !== 'float32' || output.shape?.length !== 4 || typeof channels !== 'number')
        return undefined;
      const readers = output.uses;
      if (!readers.some((use) => blocked.has(use.node.opType) && use.node.domain === '' && use.index === 0))
        return undefined;
      const chain = await readChain(node, context, channels);
      if (chain?.shift === undefined || chain.input.producer === null) return undefined;
      const pushed = await pushScale(node, chain, context);
      const { scale, shift } = pushed ?? chain;
      // Means, variances and unit scales are shared by all nodes with as many channels.
      const sharedBytes = allowance.widths.has(channels) ? 0 : channels * 12;
      const bytes = NODE_BYTES + sharedBytes + channels * (scale === undefined ? 4 : 8);
      if (bytes > allowance.bytes) {
        return { skip: { code: 'larger', reason: 'its parameters would make the model larger than it was' } };
      }
      allowance.bytes -= bytes;
      allowance.widths.add(channels);
      pushed?.commit();
      const fill = (numbers: Float64Array | undefined, fallback: number): Tensor => {
        const data = new Float32Array(channels).fill(fallback);
        if (numbers !== undefined)
          for (let index = 0; index < channels; index++)
            data[index] = numbers[numbers.length === 1 ? 0 : index]!;
        return Tensor.from('float32', [channels], data);
      };
      const constant = (suffix: string, tensor: Tensor): Value =>
        context.addConstant(`${output.name}_${suffix}`, tensor);
      const made = context.insert(
        node,
        {
          opType: 'BatchNormalization',
          inputs: [
            chain.input,
            constant('scale', fill(scale, 1)),
            constant('shift', fill(shift, 0)),
            constant('mean', fill(undefined, 0)),
            constant('variance', fill(undefined, UNIT_VARIANCE)),
          ],
          attributes: { epsilon: attribute.float(EPSILON) },
          name: node.name,
        },
        [{ type: output.type }],
      );
      context.replace(output, made.output());
      return `make the scale and shift at "${node.name}" a BatchNormalization`;
    },
  };
}

/** The shift that is left when the scale moves into the weights behind, and how to move it. */
interface Pushed {
  readonly scale: undefined;
  readonly shift: Float64Array;
  commit(): void;
}

/** Moves a scale into the weights of the readers, where each is a product by a constant weight of its own. */
async function pushScale(node: Node, chain: Affine, context: RewriteContext): Promise<Pushed | undefined> {
  const { scale, shift } = chain;
  const output = node.output();
  if (scale === undefined || shift === undefined || output.outputOf.length > 0 || scale.includes(0))
    return undefined;
  const moved = combine(shift, scale, (left, right) => left / right, undefined);
  if (moved === undefined || !allFinite(moved.map(Math.fround))) return undefined;
  const edits: (() => void)[] = [];
  for (const use of output.uses) {
    const linear = use.index === 0 ? readLinear(use.node, context) : undefined;
    if (linear === undefined || linear.channelAxis !== 1 || !readOnlyBy(linear.weight, use.node))
      return undefined;
    const weight = await mapWeight(linear.source, (numbers) => linear.scaleInputs(numbers, scale));
    if (weight === undefined) return undefined;
    edits.push(() => {
      context.setInput(use.node, 1, context.addConstant(linear.weight.name, weight));
    });
  }
  return {
    scale: undefined,
    shift: moved,
    commit: () => {
      for (const edit of edits) edit();
    },
  };
}

/** The affine map of a node, together with the one before it where only this node reads that. */
async function readChain(node: Node, context: RewriteContext, channels: number): Promise<Affine | undefined> {
  const last = await readAffine(node, context, 4, 1, channels);
  if (last === undefined || !sameChannels(last, channels)) return undefined;
  const before = last.input.producer;
  if (before === null || before.graph !== node.graph || !readOnlyBy(last.input, node)) return last;
  if (!['Mul', 'Add', 'Sub', 'Div'].some((name) => before.is(name))) return last;
  const first = await readAffine(before, context, 4, 1, channels);
  if (first === undefined || !sameChannels(first, channels)) return last;
  const scale = combine(first.scale, last.scale, (left, right) => left * right, 1);
  const moved = combine(first.shift, last.scale, (left, right) => left * right, undefined);
  const shift = combine(moved, last.shift, (left, right) => left + right, 0);
  const finite = [scale, shift].every(
    (numbers) => numbers === undefined || allFinite(numbers.map(Math.fround)),
  );
  return finite ? { input: first.input, scale, shift } : last;
}

function sameChannels(affine: Affine, channels: number): boolean {
  return affine.input.shape?.length === 4 && affine.input.shape[1] === channels;
}

/** Combines two lists of one or many; `neutral` stands in for a missing one, `undefined` keeps a missing left missing. */
function combine(
  left: Float64Array | undefined,
  right: Float64Array | undefined,
  by: (left: number, right: number) => number,
  neutral: number | undefined,
): Float64Array | undefined {
  if (left === undefined && neutral === undefined) return undefined;
  if (right === undefined) return left;
  if (left === undefined) return neutral === undefined ? undefined : right.map((item) => by(neutral, item));
  const length = Math.max(left.length, right.length);
  const of = (numbers: Float64Array, index: number): number => numbers[numbers.length === 1 ? 0 : index]!;
  return Float64Array.from({ length }, (_, index) => by(of(left, index), of(right, index)));
}
