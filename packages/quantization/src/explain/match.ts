import { constantOf, type DType, type IntegerRule, type IntegerRules, type Node } from '@lithe/core';
import { clipsAlike } from './clips.ts';
import { type FusionDraft, graphsOf, onlyReader } from './fusion-draft.ts';
import { isDequantize, isQuantize, sameParameters } from './pairs.ts';

/** Why an operator is not computed in integers. */
export interface Blocker {
  /** Short stable code. */
  readonly code: string;
  /** Why, as a sentence without its full stop. */
  readonly reason: string;
  /** The node or value that stands in the way, by name. */
  readonly by?: string | undefined;
}

/** What the runtime makes of an operator, and of the nodes around it. */
export type Match =
  | {
      readonly ok: true;
      /** The operator that it becomes. */
      readonly becomes: string;
      /** Quantizing and dequantizing nodes that it takes in. */
      readonly takes: readonly Node[];
      /** An activation function behind it that it takes in. */
      readonly rectifier?: Node | undefined;
    }
  | ({ readonly ok: false } & Blocker);

const blocked = (code: string, reason: string, by?: string): Match => ({ ok: false, code, reason, by });

const drops = (rectifier: Node, node: Node, draft: FusionDraft): boolean =>
  clipsAlike(rectifier, { node, parameters: draft.parameters(node) }, draft.scalars);

/** Drops activation functions whose clipping the quantizer behind them does anyway. */
export function absorbRectifiers(draft: FusionDraft, rules: IntegerRules): void {
  for (const graph of graphsOf(draft.model.graph)) {
    for (const node of [...graph.nodes()]) {
      if (node.domain !== '' || !rules.absorbed.includes(node.opType)) continue;
      const quantize = onlyReader(node.output())?.node;
      const input = node.input(0);
      // A model input keeps its first reader.
      if (input === null || input.producer === null) continue;
      if (!isQuantize(quantize) || !drops(node, quantize, draft)) continue;
      graph.setInput(quantize, 0, input);
      for (const name of draft.namesOf(node)) draft.absorbed.set(name, quantize.name);
      graph.remove(node);
    }
  }
}

/** Makes signed pairs unsigned where a quantized tensor has one reader. */
export function unsignSinglePairs(draft: FusionDraft): void {
  for (const graph of graphsOf(draft.model.graph)) {
    for (const quantize of graph.nodes()) {
      const dequantize = isQuantize(quantize) ? onlyReader(quantize.output())?.node : undefined;
      if (!isDequantize(dequantize)) continue;
      const [outer, inner] = [draft.parameters(quantize), draft.parameters(dequantize)];
      if (outer.dtype !== 'int8' || inner.dtype !== 'int8') continue;
      if (quantize.input(2) === null || dequantize.input(2) === null) continue;
      if (outer.zeroPoint === undefined || outer.zeroPoint !== inner.zeroPoint) continue;
      const unsigned = (of: typeof outer): typeof outer => ({
        ...of,
        dtype: 'uint8',
        zeroPoint: (of.zeroPoint as number) + 128,
      });
      draft.setParameters(quantize, unsigned(outer));
      draft.setParameters(dequantize, unsigned(inner));
    }
  }
}

/** Quantized neighbours of a node. */
interface Surroundings {
  /** Dequantizing nodes before it, in the order of its inputs. */
  readonly before: readonly Node[];
  /** Quantizing nodes behind it, or behind the activation function that its result goes to alone. */
  readonly behind: readonly Node[];
  readonly rectifier: Node | undefined;
}

function surroundings(node: Node): Surroundings {
  const before: Node[] = [];
  for (const input of node.inputs) if (isDequantize(input?.producer)) before.push(input.producer);
  const follower = node.outputs.length === 1 ? onlyReader(node.output())?.node : undefined;
  const isRectifier = follower !== undefined && (follower.is('Relu') || follower.is('Clip'));
  const rectifier = isRectifier && onlyReader(follower.output()) !== undefined ? follower : undefined;
  const behind: Node[] = [];
  for (const output of (rectifier ?? node).outputs)
    for (const { node: reader } of output.uses) if (isQuantize(reader)) behind.push(reader);
  return { before, behind, rectifier };
}

/** Names what hands a node floats on an input. */
function floatInput(node: Node, count: number): Match {
  for (const [index, value] of node.inputs.entries()) {
    if (value === null || index >= count || isDequantize(value.producer)) continue;
    const from =
      value.producer === null ? `"${value.name}"` : `${value.producer.opType} "${value.producer.name}"`;
    const what =
      constantOf(value) !== undefined ? 'is a constant in floats' : `comes in floats, from ${from}`;
    return blocked('input-float', `its input ${index} ${what}`, value.producer?.name ?? value.name);
  }
  return blocked('input-float', 'not all of its inputs come from DequantizeLinear');
}

/** Whether results go to quantizers only, one each. `optional`: none at all will do. */
function checkOutputs(node: Node, around: Surroundings, optional: boolean): Match | undefined {
  const { behind, rectifier } = around;
  const target = rectifier ?? node;
  for (const output of target.outputs) {
    if (output.name === '') continue;
    const quantizers = output.uses.filter((use) => isQuantize(use.node));
    if (output.isGraphOutput && (quantizers.length > 0 || !optional))
      return blocked(
        'graph-output',
        `its result "${output.name}" is an output of the model in floats`,
        output.name,
      );
    const floats = output.uses.find((use) => !isQuantize(use.node));
    if (floats !== undefined && (behind.length > 0 || !optional)) {
      const { node: reader } = floats;
      return blocked(
        'output-float',
        `${reader.opType} "${reader.name}" reads its result in floats`,
        reader.name,
      );
    }
    if (quantizers.length > 1)
      return blocked('several-quantizers', 'its result is quantized in several ways', output.name);
    if (quantizers.length === 0 && !optional)
      return blocked('output-float', 'its result is not quantized', output.name);
  }
  return undefined;
}

const isWide = (dtype: DType | undefined): boolean => dtype === 'int16' || dtype === 'uint16';
const isNibble = (dtype: DType | undefined): boolean => dtype === 'int4' || dtype === 'uint4';

function checkType(dtype: DType | undefined, rule: IntegerRule): Match | undefined {
  if (isWide(dtype) && rule.wide !== true)
    return blocked('wide-integers', `${rule.becomes} takes 8-bit integers, not ${dtype}`);
  if (isNibble(dtype))
    return blocked('narrow-integers', `${rule.becomes} takes 8-bit integers, not ${dtype}`);
  return undefined;
}

/** Signed activations that the kernels of this processor do not take. */
function checkSigned(
  dtypes: readonly (DType | undefined)[],
  input: Node,
  rules: IntegerRules,
): Match | undefined {
  if (dtypes[0] !== 'int8') return undefined;
  const source = input.input(0);
  if (rules.signedActivations === 'single-reader') {
    return blocked(
      'signed-readers',
      `its input "${source?.name ?? ''}" is signed and has several readers, so that it cannot be made unsigned`,
      source?.name,
    );
  }
  return dtypes[1] === 'int8'
    ? undefined
    : blocked('type-mismatch', `its input is int8 and its weight ${dtypes[1]}: both must be signed`);
}

/** Whether a bias is stored at the product of input and weight scale, to one part in a hundred. */
function biasScaleFits([input, weight, bias]: readonly Node[], draft: FusionDraft): boolean {
  const numbers = (node: Node | undefined): Float64Array => {
    const value = node?.input(1);
    return (
      (value === null || value === undefined ? undefined : draft.scalars.get(value)) ?? new Float64Array()
    );
  };
  const [weights, biases] = [numbers(weight), numbers(bias)];
  const x = input === undefined ? undefined : draft.parameters(input).scale;
  if (x === undefined || weights.length === 0 || biases.length === 0) return false;
  const count = Math.max(weights.length, biases.length);
  for (const list of [weights, biases]) if (list.length !== 1 && list.length !== count) return false;
  for (let index = 0; index < count; index++) {
    const expected = x * weights[weights.length === 1 ? 0 : index]!;
    const found = biases[biases.length === 1 ? 0 : index]!;
    // NaN stands for a scale that the runtime itself chose, as it must be.
    if (Math.abs(found - expected) > 0.01 * Math.abs(expected)) return false;
  }
  return true;
}

function mismatch(left: DType | undefined, right: DType | undefined): Match {
  return blocked('type-mismatch', `it reads ${left} and hands out ${right}`);
}

function inputCount(node: Node): number {
  return node.inputs.filter((value) => value !== null).length;
}

/** Whether a runtime computes a node in integers, with what it takes in, or what stands in the way. */
export function matchNode(
  node: Node,
  rule: IntegerRule,
  context: { draft: FusionDraft; rules: IntegerRules },
): Match {
  const { draft, rules } = context;
  const around = surroundings(node);
  const { before, behind, rectifier } = around;
  if (before.length === 0 && behind.length === 0) return blocked('not-quantized', 'no pairs stand around it');
  const [input] = before;
  const moves = rule.form === 'move' || rule.form === 'split';
  const optional = rule.form === 'product' || rule.form === 'gemm';
  const wanted =
    moves || rule.form === 'unary' || rule.form === 'read'
      ? 1
      : rule.form === 'choice'
        ? 2
        : inputCount(node);
  if (input === undefined || before.length !== wanted)
    return floatInput(node, rule.form === 'choice' ? 3 : wanted);
  if (rectifier !== undefined) {
    const [quantize] = behind;
    if (quantize === undefined || behind.length !== 1 || !drops(rectifier, quantize, draft)) {
      const why = `${rectifier.opType} "${rectifier.name}" behind it does more than a quantizer's clipping`;
      const remedy =
        quantize === undefined ? 'its result is not quantized' : 'an asymmetric range absorbs it';
      return blocked('rectifier', `${why}: ${remedy}`, rectifier.name);
    }
    if (moves) return blocked('rectifier', `${rectifier.opType} "${rectifier.name}" follows`, rectifier.name);
  }
  if (before.some((one) => one.output().isGraphOutput || one.output().useCount !== 1)) {
    if (!(rule.form === 'product' && behind.length === 0))
      return blocked('graph-output', 'its dequantized input is an output of the model', input.output().name);
  }
  const types = before.map((one) => draft.parameters(one).dtype);
  if (rule.form !== 'read') {
    const outputs = checkOutputs(node, around, optional);
    if (outputs !== undefined) return outputs;
  }
  const results = behind.map((one) => draft.parameters(one).dtype);
  const width = [...types.slice(0, optional || rule.form === 'convolution' ? 2 : types.length)]
    .map((dtype) => checkType(dtype, rule))
    .find((one) => one !== undefined);
  if (width !== undefined) return width;
  const takes = [...before, ...behind];
  const ok: Match = { ok: true, becomes: rule.becomes, takes, rectifier };
  switch (rule.form) {
    case 'read':
      return draft.parameters(input).plain
        ? { ...ok, takes: before }
        : blocked('scale', 'its scale is not one constant');
    case 'move':
    case 'split': {
      for (const quantize of behind) {
        const [from, to] = [draft.parameters(input), draft.parameters(quantize)];
        if (from.dtype !== to.dtype) return mismatch(from.dtype, to.dtype);
        if (!from.plain || !to.plain)
          return blocked('scale', 'its scales are not one constant with a zero point');
        if (!sameParameters(from, to))
          return blocked(
            'scales-differ',
            'its input and output have different scales, and it only moves elements',
          );
        if (rule.ordered === true && !((from.scale as number) > 0))
          return blocked('scale', 'its scale is not positive');
      }
      return ok;
    }
    case 'unary':
    case 'list':
    case 'choice': {
      const other = types.find((dtype) => dtype !== types[0]);
      if (other !== undefined) return blocked('type-mismatch', `it reads ${types[0]} and ${other}`);
      return results[0] === types[0] ? ok : mismatch(types[0], results[0]);
    }
    case 'convolution':
    case 'product':
    case 'gemm': {
      // A Gemm takes signed integers everywhere.
      const taken: IntegerRules = rule.form === 'gemm' ? { ...rules, signedActivations: 'always' } : rules;
      const signed = checkSigned(types, input, taken);
      if (signed !== undefined) return signed;
      if (results.length > 0 && results[0] !== types[0]) return mismatch(types[0], results[0]);
      if (rule.form === 'product') {
        const { becomes } = rule;
        return { ...ok, becomes: results.length === 0 ? 'MatMulIntegerToFloat' : becomes };
      }
      if (types.length < 3) return ok;
      const beta = node.attributes.get('beta');
      if (rule.form === 'gemm' && beta?.kind === 'float' && beta.value !== 1)
        return blocked('gemm-beta', `its beta is ${beta.value}, not 1`);
      if (types[2] !== 'int32') return blocked('bias-type', `its bias is ${types[2]}, not int32`);
      return rule.form === 'gemm' || biasScaleFits(before, draft)
        ? ok
        : blocked('bias-scale', 'the scale of its bias is not the product of input and weight scale');
    }
  }
}
