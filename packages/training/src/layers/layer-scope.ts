import {
  errors,
  type GraphBuilder,
  inferNodeTypes,
  type Node,
  type Rng,
  Tensor,
  type Value,
} from '@lithe/core';
import type { Initializer } from './initializer.ts';

/** Where layers are added: a builder, the randomness of their weights, and names that count up. */
export interface LayerScope {
  /** The builder that layers add nodes and weights to. */
  readonly builder: GraphBuilder;
  /** Source of all weights; each weight has a stream of its own, by its name. */
  readonly rng: Rng;
  /** Gives `conv1`, `conv2`, … for `conv`; a wanted name as it is. */
  name(kind: string, wanted: string | undefined): string;
  /**
   * Counts the numbers of a weight, before any of them is drawn.
   *
   * @throws {LitheError} OPTIONS_INVALID when with them the network has more than {@link MAX_WEIGHTS}
   */
  claim(weight: string, shape: readonly number[]): void;
}

/** Most numbers in the weights of one network: 2 GiB of float32, which is what a file without external data holds. */
const MAX_WEIGHTS = 2 ** 29;

/** Makes the scope. */
export function layerScope(builder: GraphBuilder, rng: Rng): LayerScope {
  const counts = new Map<string, number>();
  let claimed = 0;
  return {
    builder,
    rng,
    name: (kind, wanted) => {
      if (wanted !== undefined) return wanted;
      const count = (counts.get(kind) ?? 0) + 1;
      counts.set(kind, count);
      return `${kind}${count}`;
    },
    claim: (name, shape) => {
      claimed += shape.reduce((product, dim) => product * dim, 1);
      // Not a number is too many as well.
      if (claimed <= MAX_WEIGHTS) return;
      throw errors.optionsInvalid(
        'the network',
        [`With "${name}" of shape [${shape.join(', ')}] it has more than ${MAX_WEIGHTS} weights.`],
        'Give its layers fewer features.',
      );
    },
  };
}

/** Adds a weight. */
export function weight(
  scope: LayerScope,
  name: string,
  initializer: Initializer,
  size: { readonly shape: readonly number[]; readonly fanIn: number; readonly fanOut: number },
): Value {
  scope.claim(name, size.shape);
  return scope.builder.constant(name, initializer({ ...size, rng: scope.rng.fork(name) }));
}

/** Adds a vector that is the same everywhere: a bias of zeros, a scale of ones. */
export function vector(scope: LayerScope, name: string, length: number, value: number): Value {
  scope.claim(name, [length]);
  return scope.builder.constant(name, Tensor.from('float32', [length], new Float32Array(length).fill(value)));
}

/**
 * Infers the types of a value and of what it is made from, as far as they are not known: the builder itself waits for
 * its `build()`.
 */
export function inferred(value: Value): Value {
  const stack: Value[] = [value];
  const entered = new Set<Node>();
  for (let item = stack.at(-1); item !== undefined; item = stack.at(-1)) {
    const { producer } = item;
    if (producer === null || item.type !== undefined) {
      stack.pop();
    } else if (entered.has(producer)) {
      // Its inputs were on the stack above it: they are typed as far as they can be.
      stack.pop();
      inferNodeTypes(producer);
    } else {
      entered.add(producer);
      for (const input of producer.inputs) if (input !== null) stack.push(input);
    }
  }
  return value;
}

/**
 * A dim of a value that has to be a number: channels, features.
 *
 * @throws {LitheError} OPTIONS_INVALID when it is not known
 */
export function knownDim(value: Value, axis: number, layer: string): number {
  const { shape } = inferred(value);
  const dim = shape?.[axis < 0 ? shape.length + axis : axis];
  if (typeof dim === 'number') return dim;
  throw errors.optionsInvalid(layer, [`The size of "${value.name}" along axis ${axis} is not known.`]);
}

/** An int64 vector among a node's inputs. */
export function int64s(values: readonly number[]): Tensor<'int64'> {
  return Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
}

/** A float32 scalar among a node's inputs. */
export function float32(value: number): Tensor<'float32'> {
  return Tensor.from('float32', [], Float32Array.of(value));
}
