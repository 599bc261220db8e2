import { errors, type Graph, inferShapes, type Node, type Value } from '@lithe/core';
import type { Build } from '../step/build.ts';
import { computeInFloat16 } from './compute-in-float16.ts';
import { type DynamicLossScale, type LossScale, scaleLoss } from './loss-scale.ts';

/** How a step is trained in mixed precision. */
export interface MixedPrecisionOptions {
  /** Factor on the loss: a number for one that stays, or how it finds its size. By default it finds it from 65,536 on. */
  readonly lossScale?: number | DynamicLossScale | undefined;
  /** Operators (`Conv`) or nodes (by name) that stay in float32 though float16 would be chosen. */
  readonly float32?: readonly string[] | undefined;
}

/** Mixed precision of a step under way. */
export interface MixedPrecision {
  /** A value in float32, for losses. */
  wide(value: Value): Value;
  /** Scales the loss. */
  scale(loss: Value): LossScale;
}

/**
 * Lets the forward part of a step compute in float16; the backward part follows from it. Called before the loss is added.
 *
 * @param weights values that learn, and masks
 * @throws {LitheError} OPTIONS_INVALID when nothing can be computed in float16, or a name to leave out is unknown
 */
export async function mixPrecision(
  build: Build,
  weights: readonly Value[],
  options: MixedPrecisionOptions,
): Promise<MixedPrecision> {
  const { graph } = build.model;
  const kept = new Set(options.float32);
  checkNames(graph, kept);
  const { nodes, wide } = computeInFloat16(graph, {
    weights: new Set(weights),
    keepsFloat32: (node: Node) => kept.has(node.opType) || kept.has(node.name),
  });
  if (nodes.length === 0) {
    throw errors.optionsInvalid('mixedPrecision', [
      'The model has no float32 node that computes in float16.',
    ]);
  }
  await inferShapes(build.model, build.options.opset === undefined ? {} : { opset: build.options.opset });
  return { wide, scale: (loss) => scaleLoss(build, loss, options.lossScale ?? {}) };
}

function checkNames(graph: Graph, names: ReadonlySet<string>): void {
  const known = new Set([...graph.nodes()].flatMap(({ name, opType }) => [name, opType]));
  const unknown = [...names].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw errors.optionsInvalid(
      'mixedPrecision',
      unknown.map((name) => `The model has no operator or node called "${name}".`),
    );
  }
}
