import type { OpSet, RewriteRule } from '@lithe/core';
import {
  fuseClip,
  fuseGelu,
  fuseHardSigmoid,
  fuseHardSwish,
  fuseTanhGelu,
  mergeResidualGate,
} from './rules/activations.ts';
import { type Allowance, affineToBatchNormalization } from './rules/batch-normalization.ts';
import {
  foldConstants,
  foldReshapeTarget,
  foldShapes,
  type KnownSizes,
  sliceSqueezeToGather,
} from './rules/constants.ts';
import { inlineConstantIf, unflattenSoftmax } from './rules/control-flow.ts';
import { foldAffineAfter, foldAffineBefore, foldScaleThroughBias } from './rules/fold-affine.ts';
import {
  cancelTransposes,
  mergeCasts,
  mergeReshapes,
  mergeSlices,
  mergeTransposes,
  sinkTransposes,
} from './rules/movement.ts';
import { removeNoOps, removeRepeated } from './rules/no-ops.ts';
import { fuseLayerNormalization, fuseSoftmax } from './rules/normalizations.ts';
import { foldPad, meanToPool } from './rules/padding.ts';
import { matMulAddToGemm, mergePointwise } from './rules/products.ts';

/** When a rule runs: `recognize` first, on the spellings of exporters; `fold` then; `finish` on what is left. */
export type RulePhase = 'recognize' | 'fold' | 'finish';

/** What the rules are made with. */
export interface RuleSettings {
  /** Operators that are known. */
  readonly opset: OpSet;
  /** Sizes that inference knows. */
  readonly sizes: KnownSizes;
  /** How many bytes a folded constant may take beyond what it replaces. */
  readonly growthBytes: number;
  /** How much the model may grow again. */
  readonly allowance: Allowance;
}

/** A rule of {@link simplify}. */
export interface SimplifyRule {
  /** Name without the namespace, as the `skip` option takes it. */
  readonly name: string;
  /** When it runs, and from then on. */
  readonly phase: RulePhase;
  /** Opset of `ai.onnx` that its result needs; 1 for those that make nothing new. */
  readonly opset: number;
  /** Makes the rule. */
  make(settings: RuleSettings): RewriteRule;
}

function entry(rule: RewriteRule, phase: RulePhase, opset = 1): SimplifyRule {
  return { name: rule.name.slice('simplify/'.length), phase, opset, make: () => rule };
}

/** Every rule, in order of precedence. Data: a list of one's own can be made from it. */
export const simplifyRules: readonly SimplifyRule[] = [
  entry(removeNoOps, 'recognize'),
  entry(removeRepeated, 'recognize'),
  { name: 'fold-constants', phase: 'recognize', opset: 1, make: foldConstants },
  { name: 'fold-shapes', phase: 'recognize', opset: 1, make: ({ sizes }) => foldShapes(sizes) },
  entry(inlineConstantIf, 'recognize'),
  entry(unflattenSoftmax, 'recognize'),
  entry(foldReshapeTarget, 'recognize'),
  entry(mergeCasts, 'recognize'),
  entry(mergeReshapes, 'recognize'),
  entry(mergeTransposes, 'recognize'),
  entry(cancelTransposes, 'recognize'),
  entry(sinkTransposes, 'recognize'),
  entry(mergeSlices, 'recognize'),
  entry(fuseHardSwish, 'recognize', 14),
  entry(fuseHardSigmoid, 'recognize'),
  entry(fuseClip, 'recognize', 6),
  entry(fuseGelu, 'recognize', 20),
  entry(fuseTanhGelu, 'recognize', 20),
  entry(fuseLayerNormalization, 'recognize', 17),
  entry(fuseSoftmax, 'recognize', 13),
  entry(meanToPool, 'fold'),
  entry(foldPad, 'fold', 2),
  entry(sliceSqueezeToGather, 'fold'),
  entry(foldAffineAfter, 'fold'),
  entry(foldScaleThroughBias, 'fold'),
  entry(foldAffineBefore, 'fold'),
  entry(mergePointwise, 'fold'),
  entry(matMulAddToGemm, 'fold', 7),
  entry(mergeResidualGate, 'fold'),
  {
    name: 'affine-to-batch-normalization',
    phase: 'finish',
    opset: 9,
    make: ({ allowance }) => affineToBatchNormalization(allowance),
  },
];
