import type { TraitEntry } from '@lithe/core';
import { attribute, microsoftOpDefs, standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEdit,
  type AxisEnd,
  type AxisFlow,
  type AxisRule,
  axisFlow,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { convolutionRule } from './convolution.ts';
import { layerNormalizationFlow } from './normalization.ts';
import { gemmFlow, matMulFlow } from './product.ts';
import { broadcastTies, elementwise, unknownRank } from './shared.ts';
import { countBelow } from './slicing.ts';

const layout = 'its layout packs more than one thing';

/** Heads side by side in one axis: either whole heads go, or one place out of every head. */
function headView(
  size: number,
  heads: number,
  repeat: number,
  start = 0,
): { readonly whole: AxisEnd['view']; readonly each: AxisEnd['view'] } {
  return {
    whole: { kind: 'block', start, length: size, inner: (size / heads) * repeat, size: heads / repeat },
    each: { kind: 'block', start, length: size, size: size / heads },
  };
}

/** Query, key and value [N, T, heads * size], bias [query | key | value], output as the value. */
function multiHeadFlow(context: AxisContext): AxisFlow {
  const { num_heads: heads } = context.attributes(microsoftOpDefs.MultiHeadAttention);
  const [query, key, value, output] = [
    context.shape(0),
    context.shape(1),
    context.shape(2),
    context.outputShape(0),
  ];
  const others =
    [6, 7].some((index) => context.has(index)) || [1, 2, 3].some((index) => context.gives(index));
  const [q, k, v] = [query?.[2], key?.[2], value?.[2]];
  const plain = query?.length === 3 && key?.length === 3 && value?.length === 3 && output?.length === 3;
  if (!plain || others || typeof q !== 'number' || typeof k !== 'number' || typeof v !== 'number')
    return { ties: [], fixed: layout };
  const views = [headView(q, heads, 1), headView(k, heads, 1), headView(v, heads, 1)] as const;
  const whole: AxisEnd[] = [
    ...views.map(({ whole: view }, index) => inputAxis(index, 2, view)),
    outputAxis(0, 2, views[2].whole),
  ];
  const inner: AxisEnd[] = [inputAxis(0, 2, views[0].each), inputAxis(1, 2, views[1].each)];
  const outer: AxisEnd[] = [inputAxis(2, 2, views[2].each), outputAxis(0, 2, views[2].each)];
  const ties: Tie[] = [tie(inputAxis(0, 0), inputAxis(1, 0), inputAxis(2, 0), outputAxis(0, 0))];
  if (context.has(3)) {
    const lengths = [q, k, v];
    let start = 0;
    for (const [index, length] of lengths.entries()) {
      ties.push(tie(inputAxis(index, 2), inputAxis(3, 0, { kind: 'block', start, length })));
      start += length;
    }
  }
  ties.push(tie(inputAxis(2, 2), outputAxis(0, 2)));
  if (context.has(5) && context.shape(5)?.[1] === heads) whole.push(inputAxis(5, 1));
  return {
    ties,
    choices: [[tie(...whole), tie(...inner), tie(...outer)]],
    roles: { 3: 'bias' },
    fixed: layout,
  };
}

/** Keeps the scale that the head size stood for, and counts the heads that are left. */
function rewriteMultiHead(edit: AxisEdit): void {
  const { num_heads: heads, scale } = edit.attributes(microsoftOpDefs.MultiHeadAttention);
  const width = edit.shape(0)?.[2];
  const kept = edit.kept('input', 0, 2);
  const values = edit.kept('input', 2, 2);
  if (typeof width !== 'number' || (kept === undefined && values === undefined)) return;
  if (kept !== undefined && (scale ?? 0) === 0)
    edit.setAttribute('scale', attribute.float(1 / Math.sqrt(width / heads)));
  edit.setAttribute('num_heads', attribute.int(headsLeft(kept, width, heads)));
}

function headsLeft(kept: readonly number[] | undefined, width: number, heads: number): number {
  if (kept === undefined) return heads;
  const size = width / heads;
  let left = 0;
  for (let head = 0; head < heads; head++)
    if (countBelow(kept, (head + 1) * size) > countBelow(kept, head * size)) left++;
  return left;
}

/** Query [N, T, heads * size], key and value [N, T, groups * size] without a cache: groups of heads go together. */
function groupQueryFlow(context: AxisContext): AxisFlow {
  const { num_heads: heads, kv_num_heads: groups } = context.attributes(microsoftOpDefs.GroupQueryAttention);
  const [q, k, v] = [0, 1, 2].map((index) => context.shape(index)?.[2]);
  const cached =
    [3, 4, 11, 12, 13, 14, 15].some((index) => context.has(index)) ||
    [1, 2, 3].some((index) => context.gives(index));
  if (cached || typeof q !== 'number' || typeof k !== 'number' || typeof v !== 'number')
    return { ties: [], fixed: 'its cache or its packed inputs keep all heads' };
  const repeat = heads / groups;
  const whole: AxisEnd[] = [
    inputAxis(0, 2, headView(q, heads, repeat).whole),
    inputAxis(1, 2, headView(k, groups, 1).whole),
    inputAxis(2, 2, headView(v, groups, 1).whole),
    outputAxis(0, 2, headView(q, heads, repeat).whole),
  ];
  return { ties: [tie(inputAxis(0, 2), outputAxis(0, 2)), tie(...whole)], fixed: layout };
}

function rewriteGroupQuery(edit: AxisEdit): void {
  const { num_heads: heads, kv_num_heads: groups } = edit.attributes(microsoftOpDefs.GroupQueryAttention);
  const [q, k] = [edit.shape(0)?.[2], edit.shape(1)?.[2]];
  if (edit.kept('input', 0, 2) === undefined || typeof q !== 'number' || typeof k !== 'number') return;
  edit.setAttribute('num_heads', attribute.int(headsLeft(edit.kept('input', 0, 2), q, heads)));
  edit.setAttribute('kv_num_heads', attribute.int(headsLeft(edit.kept('input', 1, 2), k, groups)));
}

/** Input [N, T, features], weights [features, query | key | value], each heads * size; output [N, T, value]. */
function attentionFlow(context: AxisContext): AxisFlow {
  const {
    num_heads: heads,
    qkv_hidden_sizes: sizes,
    do_rotary: rotary,
  } = context.attributes(microsoftOpDefs.Attention);
  const columns = context.shape(1)?.[1];
  const others = [4, 6].some((index) => context.has(index)) || context.gives(1) || (rotary ?? 0) !== 0;
  if (typeof columns !== 'number' || others) return { ties: [], fixed: layout };
  const [q, k, v] = sizes ?? [columns / 3, columns / 3, columns / 3];
  if (q === undefined || k === undefined || v === undefined) return { ties: [], fixed: layout };
  const starts = [0, q, q + k];
  const views = [q, k, v].map((size, index) => headView(size, heads, 1, starts[index]));
  const whole: AxisEnd[] = views.map(({ whole: view }) => inputAxis(1, 1, view));
  whole.push(outputAxis(0, 2, headView(v, heads, 1).whole));
  if (context.has(5) && context.shape(5)?.[1] === heads) whole.push(inputAxis(5, 1));
  const ties: Tie[] = [
    tie(inputAxis(0, 0), outputAxis(0, 0)),
    tie(inputAxis(0, 2), inputAxis(1, 0)),
    tie(inputAxis(1, 1, { kind: 'block', start: q + k, length: v }), outputAxis(0, 2)),
  ];
  if (context.has(2)) ties.push(tie(inputAxis(1, 1), inputAxis(2, 0)));
  return {
    ties: [...ties, tie(...whole)],
    starts: context.isStatic(1) ? [outputAxis(0, 2)] : [],
    roles: { 1: 'weight', 2: 'bias' },
    fixed: layout,
  };
}

function rewriteAttention(edit: AxisEdit): void {
  const { num_heads: heads, qkv_hidden_sizes: sizes } = edit.attributes(microsoftOpDefs.Attention);
  const columns = edit.shape(1)?.[1];
  const kept = edit.kept('input', 1, 1);
  if (kept === undefined || typeof columns !== 'number') return;
  const [q = 0, k = 0] = sizes ?? [columns / 3, columns / 3];
  const ends = [countBelow(kept, q), countBelow(kept, q + k), kept.length] as const;
  if (sizes !== undefined)
    edit.setAttribute('qkv_hidden_sizes', attribute.ints([ends[0], ends[1] - ends[0], ends[2] - ends[1]]));
  const size = q / heads;
  edit.setAttribute('num_heads', attribute.int(ends[0] / size));
}

/** Input and skip are added, then normalized along the last axis. */
function skipFlow(context: AxisContext, parameters: readonly number[]): AxisFlow {
  const rank = context.shape(0)?.length;
  if (rank === undefined) return unknownRank;
  const base = layerNormalizationFlow(context, -1, [1, ...parameters]);
  const sum = context.gives(3) ? broadcastTies(context, { inputs: [0], outputs: [3] }) : [];
  return { ...base, ties: [...base.ties, ...sum], roles: { 2: 'scale', 3: 'bias', 4: 'bias' } };
}

const biasLast: AxisRule = {
  flow: (context) => ({
    ties: broadcastTies(context),
    roles: { 1: 'bias' },
    fixed: 'the sizes along it are not known',
  }),
};

/** Rules for operators that onnxruntime adds. */
export const microsoftAxes: readonly TraitEntry<AxisRule>[] = [
  axisFlow.of(microsoftOpDefs.Attention, { flow: attentionFlow, rewrite: rewriteAttention }),
  axisFlow.of(microsoftOpDefs.BiasAdd, biasLast),
  axisFlow.of(microsoftOpDefs.BiasGelu, biasLast),
  axisFlow.of(microsoftOpDefs.FastGelu, biasLast),
  axisFlow.of(microsoftOpDefs.FusedConv, {
    ...convolutionRule(microsoftOpDefs.FusedConv),
    flow: (context) => {
      const base = convolutionRule(microsoftOpDefs.FusedConv).flow(context);
      if (!context.has(3)) return base;
      return { ...base, ties: [...base.ties, tie(inputAxis(3, 1), outputAxis(0, 1))] };
    },
  }),
  axisFlow.of(microsoftOpDefs.FusedGemm, {
    flow: (context) => gemmFlow(context, context.attributes(microsoftOpDefs.FusedGemm)),
  }),
  axisFlow.of(microsoftOpDefs.FusedMatMul, {
    flow: (context) => {
      const { transA, transB, transBatchA, transBatchB } = context.attributes(microsoftOpDefs.FusedMatMul);
      return transA || transB || transBatchA || transBatchB
        ? { ties: [], fixed: 'its operands are transposed' }
        : matMulFlow(context);
    },
  }),
  axisFlow.of(microsoftOpDefs.Gelu, elementwise([0])),
  axisFlow.of(microsoftOpDefs.GroupQueryAttention, { flow: groupQueryFlow, rewrite: rewriteGroupQuery }),
  axisFlow.of(microsoftOpDefs.MultiHeadAttention, { flow: multiHeadFlow, rewrite: rewriteMultiHead }),
  axisFlow.of(microsoftOpDefs.QuickGelu, elementwise([0])),
  axisFlow.of(microsoftOpDefs.SkipLayerNormalization, { flow: (context) => skipFlow(context, [2, 3, 4]) }),
  axisFlow.of(microsoftOpDefs.SkipSimplifiedLayerNormalization, {
    flow: (context) => skipFlow(context, [2, 3]),
  }),
  axisFlow.of(
    { domain: '', type: 'SimplifiedLayerNormalization' },
    {
      flow: (context) => layerNormalizationFlow(context, axisOf(context), [1]),
    },
  ),
];

/** The attribute that LayerNormalization and its simplified form share. */
function axisOf(context: AxisContext): number {
  const axis = context.node.attributes.get('axis');
  return axis?.kind === 'int'
    ? Number(axis.value)
    : standardOpDefs.LayerNormalization.attributes.axis.default;
}
