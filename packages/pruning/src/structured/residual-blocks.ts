import {
  assertValid,
  constantOf,
  elementsOf,
  errors,
  inferShapes,
  type Model,
  type Node,
  type Value,
} from '@lithe/core';
import { AxisModel, type AxisOptions } from './axis-model.ts';
import { checkProtected } from './check-protected.ts';
import { type Cost, CutCost } from './cut-cost.ts';
import { removeDead } from './remove-dead.ts';

/** A residual block: what is computed beside a shortcut that is the identity, and added to it. */
export interface ResidualBlock {
  /** Name: that of the sum. Unique among the blocks of a model. */
  readonly name: string;
  /** Name of the value that the shortcut hands on. */
  readonly shortcut: string;
  /** Name of the sum. */
  readonly output: string;
  /** Names of the nodes that go with the block, the sum last. */
  readonly nodes: readonly string[];
  /** What removing it saves, the other blocks staying. */
  readonly cost: Cost;
}

/** How {@link residualBlocks} looks. */
export interface BlockOptions extends AxisOptions {
  /** Sizes that symbols stand for when multiplications are counted: 1 for the batch and 64 for others by default. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Names of nodes, values and weights that stay, with the blocks they are in. */
  readonly protect?: readonly string[] | undefined;
}

/** Whether a node, what it makes, or a constant that it reads is to stay. */
function isProtected(node: Node, protect: ReadonlySet<string>): boolean {
  return (
    protect.has(node.name) ||
    node.outputs.some((output) => protect.has(output.name)) ||
    node.inputs.some((input) => input !== null && constantOf(input) !== undefined && protect.has(input.name))
  );
}

/** Nodes that lead from a value to another; none when nothing does. */
function branchBetween(
  shortcut: Value,
  branch: Value,
  places: ReadonlyMap<Node, number>,
): ReadonlySet<Node> | undefined {
  const first = shortcut.producer === null ? -1 : (places.get(shortcut.producer) ?? -1);
  const found = new Set<Node>();
  if (branch.producer === null) return undefined;
  found.add(branch.producer);
  let reaches = false;
  for (const node of found) {
    if (node.subgraphs.length > 0) return undefined;
    for (const input of node.inputs) {
      if (input === shortcut) reaches = true;
      else if (input !== null && input.producer !== null && (places.get(input.producer) ?? -1) > first)
        found.add(input.producer);
    }
  }
  return reaches ? found : undefined;
}

/** Those of the nodes that nothing but the sum needs. */
function ownNodes(branch: ReadonlySet<Node>, sum: Node, places: ReadonlyMap<Node, number>): readonly Node[] {
  const own = new Set<Node>([sum]);
  const ordered = [...branch].sort(
    (left, right) => (places.get(right) as number) - (places.get(left) as number),
  );
  for (const node of ordered) {
    const isOwn = node.outputs.every(
      (output) => output.outputOf.length === 0 && output.uses.every((use) => own.has(use.node)),
    );
    if (isOwn) own.add(node);
  }
  return [...own].sort((left, right) => (places.get(left) as number) - (places.get(right) as number));
}

/**
 * Finds the residual blocks that can be dropped whole: a sum of a value and of what a branch with weights makes of it,
 * both of one shape. Dropping a block makes a model less deep, which every runtime feels.
 *
 * @throws {LitheError} OPTIONS_INVALID when `protect` names what is not there
 * @see Men and others, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024
 */
export async function residualBlocks(
  model: Model,
  options: BlockOptions = {},
): Promise<readonly ResidualBlock[]> {
  checkProtected('residualBlocks', model.graph, options.protect);
  const axes = await AxisModel.of(model.clone(), options);
  const { graph } = axes;
  const places = new Map([...graph.nodes()].map((node, place) => [node, place]));
  const cost = new CutCost(axes, options.dims ?? {});
  const protect = new Set(options.protect);
  const blocks: ResidualBlock[] = [];
  for (const sum of graph.nodes()) {
    if (!sum.is('Add') || sum.output().isGraphOutput) continue;
    for (const place of [0, 1]) {
      const [shortcut, branch] = [sum.input(place), sum.input(1 - place)];
      if (shortcut === null || branch === null || shortcut === branch) continue;
      const shape = sum.output().shape;
      if (shape === undefined || shape.join() !== shortcut.shape?.join() || shape.includes(null)) continue;
      const between = branchBetween(shortcut, branch, places);
      if (between === undefined) continue;
      const nodes = ownNodes(between, sum, places);
      const hasWeights = nodes.some((node) => (axes.flow(node).flow.starts ?? []).length > 0);
      if (!hasWeights || nodes.some((node) => isProtected(node, protect))) continue;
      const name = sum.name === '' ? sum.output().name : sum.name;
      blocks.push({
        name: blocks.some((block) => block.name === name) ? sum.output().name : name,
        shortcut: shortcut.name,
        output: sum.output().name,
        nodes: nodes.map((node) => node.name),
        cost: costOf(nodes, cost),
      });
      break;
    }
  }
  return blocks;
}

function costOf(nodes: readonly Node[], cost: CutCost): Cost {
  const inside = new Set(nodes);
  let [parameters, bytes, macs] = [0, 0, 0];
  const seen = new Set<Value>();
  for (const node of nodes) {
    macs += cost.macsOf(node);
    for (const input of node.inputs) {
      const source = constantOf(input);
      if (input === null || source === undefined || seen.has(input)) continue;
      seen.add(input);
      if (!input.uses.every((use) => inside.has(use.node))) continue;
      parameters += elementsOf(source.shape);
      bytes += source.byteLength;
    }
  }
  return { parameters, bytes, macs };
}

/**
 * Drops residual blocks from a model, in place: each sum is replaced by its shortcut, and what served only the block
 * goes.
 *
 * @throws {LitheError} OPTIONS_INVALID when a block is not in the model
 * @example
 * ```ts
 * import { dropBlocks, residualBlocks } from '@lithe/pruning';
 * import { resnet20 } from '@lithe/training';
 *
 * const model = await resnet20();
 * const blocks = await residualBlocks(model);
 * blocks.length; // => 7
 * await dropBlocks(model, blocks.slice(0, 2));
 * (await residualBlocks(model)).length; // => 5
 * ```
 */
export async function dropBlocks(
  model: Model,
  blocks: readonly ResidualBlock[],
  options: AxisOptions = {},
): Promise<void> {
  const { graph } = model;
  for (const block of blocks) {
    const output = graph.value(block.output);
    const sum = output?.producer;
    const shortcut = sum?.inputs.findIndex((input) => input !== null && input.name === block.shortcut) ?? -1;
    if (output === undefined || sum === null || sum === undefined || !sum.is('Add') || shortcut < 0) {
      throw errors.optionsInvalid(
        'dropBlocks',
        [`The model has no residual block "${block.name}".`],
        'Find the blocks anew after each change of a model.',
      );
    }
  }
  // Shortcuts of later blocks may be sums that are dropped here: which input it is, is looked up before.
  const places = blocks.map(({ output, shortcut }) => {
    const sum = graph.value(output)?.producer as Node;
    return { sum, index: sum.inputs.findIndex((input) => input?.name === shortcut) };
  });
  for (const { sum, index } of places) {
    graph.replaceAllUses(sum.output(), sum.input(index) as Value);
    removeDead(graph, sum.output());
  }
  await inferShapes(model, {
    ...(options.opset === undefined ? {} : { opset: options.opset }),
    overwrite: true,
  });
  assertValid(model, options.opset === undefined ? {} : { opset: options.opset });
}
