import { errors, type Graph, type Node, type Value } from '@lithe/core';
import { Barrier, canAwait, canHold } from './barrier.ts';
import { type Activation, type ForwardPart, forwardPart } from './forward-part.ts';
import { isHeld, type Plan, planOf, planSegments } from './plan.ts';

/** How activations are checkpointed. */
export interface CheckpointingOptions {
  /**
   * Names of values behind which the forward part is cut, such as the output of each block. By default the cuts are
   * chosen so that the peak of memory is smallest.
   */
  readonly boundaries?: readonly string[] | undefined;
  /** Largest number of segments when the cuts are chosen; as many as serve by default. */
  readonly segments?: number | undefined;
}

/** What checkpointing did to a graph. Bytes are estimates, of activations alone, symbolic sizes taken as 32. */
export interface CheckpointingResult {
  /** Segments of the forward part; 1 when nothing was gained by cutting. */
  readonly segments: number;
  /** Nodes that are computed a second time. */
  readonly repeatedNodes: number;
  /** Activations held for the backward part before. */
  readonly bytesBefore: number;
  /** The most that is held at one time now. */
  readonly bytesAfter: number;
}

/**
 * Makes the backward part of a training graph compute the activations of a segment again when it gets there, so that
 * they are not held from the forward part on (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). What
 * crosses a cut stays, and so does what is small, random or an output. The last segment is not repeated: the backward part
 * begins with it. The same operators see the same numbers, so that results are the same bit for bit.
 *
 * @param lossName what the graph minimizes; nodes behind it are taken for the backward part
 * @throws {LitheError} OPTIONS_INVALID when the loss or a boundary is not a value that a node makes
 */
export function checkpointActivations(
  graph: Graph,
  lossName: string,
  options: CheckpointingOptions = {},
): CheckpointingResult {
  const { segments: most = Number.POSITIVE_INFINITY, boundaries } = options;
  if (!(most >= 1)) throw errors.optionsInvalid('checkpointing', ['"segments" must be above 0.']);
  const loss = graph.value(lossName);
  if (loss?.producer == null) {
    throw errors.optionsInvalid('checkpointing', [`No node makes a loss called "${lossName}".`]);
  }
  const part = forwardPart(graph, loss);
  const plan =
    boundaries === undefined ? planSegments(part, most) : planOf(part, cutsBehind(part, graph, boundaries));
  const repeatedNodes = plan.cuts.length === 0 ? 0 : repeat(graph, part, plan);
  return {
    segments: plan.cuts.length + 1,
    repeatedNodes,
    bytesBefore: plan.allBytes,
    bytesAfter: repeatedNodes === 0 ? plan.allBytes : plan.peakBytes,
  };
}

function cutsBehind({ nodes }: ForwardPart, graph: Graph, names: readonly string[]): readonly number[] {
  const positions = new Map(nodes.map((node, index) => [node, index]));
  const cuts = names.map((name) => {
    const producer = graph.value(name)?.producer;
    const position = producer == null ? undefined : positions.get(producer);
    if (position === undefined) {
      throw errors.optionsInvalid('checkpointing', [
        `The loss does not depend on a node that makes "${name}".`,
      ]);
    }
    return position;
  });
  return [...new Set(cuts)].sort((left, right) => left - right);
}

/** Adds the repetitions; gives their number. */
function repeat(graph: Graph, part: ForwardPart, { cuts, allBytes }: Plan): number {
  const constants = new Map<string, Value>();
  const order = new Map(part.backward.map((node, index) => [node, index]));
  const segments = segmentsOf(part, cuts, allBytes);
  let repeated = 0;
  // Where the repetition of the segment behind begins: what the backward part made until then was awaited there.
  let from = 0;
  for (const segment of segments.toReversed()) {
    const readers = segment.flatMap(({ value }) => backwardUses(value, order));
    const at = readers.reduce((least, { position }) => Math.min(least, position), Number.POSITIVE_INFINITY);
    const first = part.backward[at];
    if (first === undefined) continue;
    const awaited = madeBetween(part.backward, { from, to: at, order });
    // Nothing to wait for: the segment is the first that the backward part comes to, and is held as it is.
    if (awaited.length === 0) continue;
    const barrier = new Barrier(graph, awaited, { before: first, constants });
    const copies = repeatNodes(graph, segment, { barrier, before: first });
    for (const { node, index, value } of readers) {
      const copy = copies.values.get(value);
      if (copy !== undefined) graph.setInput(node, index, copy);
    }
    repeated += copies.nodes;
    from = at;
  }
  return repeated;
}

/** Activations to be repeated, by segment, all but the last. */
function segmentsOf(part: ForwardPart, cuts: readonly number[], allBytes: number): readonly Activation[][] {
  const segments = cuts.map((): Activation[] => []);
  let current = 0;
  for (const activation of part.activations) {
    while (activation.made > (cuts[current] ?? Number.POSITIVE_INFINITY)) current++;
    const cut = cuts[current];
    // Behind the last cut, or read behind the own one.
    if (cut === undefined || activation.lastRead > cut) continue;
    if (!isHeld(activation, allBytes)) segments[current]?.push(activation);
  }
  return segments;
}

interface BackwardUse {
  readonly node: Node;
  readonly index: number;
  readonly value: Value;
  readonly position: number;
}

function backwardUses(value: Value, order: ReadonlyMap<Node, number>): readonly BackwardUse[] {
  return value.uses.flatMap(({ node, index }) => {
    const position = order.get(node);
    return position === undefined ? [] : [{ node, index, value, position }];
  });
}

/** Values that nodes of a stretch of the backward part make and that are read behind it, or are outputs. */
function madeBetween(
  backward: readonly Node[],
  {
    from,
    to,
    order,
  }: { readonly from: number; readonly to: number; readonly order: ReadonlyMap<Node, number> },
): readonly Value[] {
  const made: Value[] = [];
  for (const node of backward.slice(from, to)) {
    for (const value of node.outputs) {
      if (canAwait(value) && value.uses.some(({ node: reader }) => (order.get(reader) ?? -1) >= to))
        made.push(value);
    }
  }
  return made;
}

/** Repeats the nodes that make what the backward part wants of a segment, and what those need of it. */
function repeatNodes(
  graph: Graph,
  segment: readonly Activation[],
  { barrier, before }: { readonly barrier: Barrier; readonly before: Node },
): { readonly values: ReadonlyMap<Value, Value>; readonly nodes: number } {
  const gone = new Set(segment.map(({ value }) => value));
  const needed = new Set<Node>();
  const stack = segment.filter(({ wanted }) => wanted).map(({ value }) => value);
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    const { producer } = value;
    if (producer === null || needed.has(producer)) continue;
    needed.add(producer);
    for (const input of producer.inputs) if (input !== null && gone.has(input)) stack.push(input);
  }
  const values = new Map<Value, Value>();
  const held = new Map<Value, Value>();
  let nodes = 0;
  // A segment lists its values in graph order.
  for (const { value } of segment) {
    const node = value.producer;
    if (node === null || !needed.has(node) || values.has(value)) continue;
    const inputs = node.inputs.map((input) => (input === null ? null : (values.get(input) ?? input)));
    if (!inputs.some((input, index) => input !== node.inputs[index])) holdBack(inputs, held, barrier);
    const outputs = node.outputs.map((output) =>
      output.name === ''
        ? { name: '' }
        : { name: graph.uniqueName(`again/${output.name}`), type: output.type },
    );
    const copy = graph.addNode(
      { opType: node.opType, domain: node.domain, inputs, attributes: new Map(node.attributes) },
      outputs,
      { before },
    );
    node.outputs.forEach((output, index) => {
      if (gone.has(output)) values.set(output, copy.output(index));
    });
    nodes++;
  }
  return { values, nodes };
}

/** Makes a node that reads nothing repeated wait: one input is enough, the first that is no constant. */
function holdBack(inputs: (Value | null)[], held: Map<Value, Value>, barrier: Barrier): void {
  const index = inputs.findIndex((item) => item !== null && item.initializer === undefined && canHold(item));
  const input = inputs[index];
  if (input === null || input === undefined) return;
  const waiting = held.get(input) ?? barrier.hold(input);
  held.set(input, waiting);
  inputs[index] = waiting;
}
