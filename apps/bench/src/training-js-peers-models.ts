import type { Tensor } from '@lithe/core';

/** What the networks below need of a library. Images are `[N, C, H, W]` in what is said here, however they lie in memory. */
export interface PeerOps<T> {
  /** Convolution of 3x3 or 1x1, rows of zeros added so that a stride of 1 keeps the size. */
  conv(x: T, weight: T, stride: number): T;
  /** Adds one number per channel. */
  bias(x: T, bias: T): T;
  /** Normalizes each channel over the batch, in training form; running statistics are left out. */
  batchNorm(x: T, scale: T, bias: T): T;
  /** Normalizes the last axis. */
  layerNorm(x: T, scale: T, bias: T): T;
  relu(x: T): T;
  gelu(x: T): T;
  softmax(x: T): T;
  add(left: T, right: T): T;
  scale(x: T, factor: number): T;
  maxPool(x: T): T;
  /** `[N, C]`. */
  averagePool(x: T): T;
  /** `[N, C H W]`. */
  flatten(x: T): T;
  /** x W^T + b of matrices. */
  linear(x: T, weight: T, bias: T): T;
  /** Product of the last two axes. The right side is a matrix when `shared`. */
  matmul(left: T, right: T, shared: boolean): T;
  reshape(x: T, shape: readonly number[]): T;
  transpose(x: T, order: readonly number[]): T;
  /** Rows of a table by number. */
  gather(table: T, numbers: T): T;
  /** Mean over axis 1. */
  meanTokens(x: T): T;
  /** Mean cross-entropy with labels. */
  crossEntropy(logits: T, labels: T): T;
}

/** Weights by name. */
export type PeerWeights<T> = Readonly<Record<string, T>>;

/** A library: what it calls itself, and how it takes one step of gradient descent. */
export interface Peer {
  /** Name and version. */
  readonly name: string;
  /**
   * Makes a training step from the same weights as everyone's.
   *
   * @returns runs a step and gives the loss before it
   */
  prepare(request: PeerRequest): Promise<() => Promise<number>>;
}

/** What a peer trains. */
export interface PeerRequest {
  /** Which network. */
  readonly model: PeerModel;
  /** First weights. */
  readonly weights: Readonly<Record<string, Tensor>>;
  /** Images, rows or tokens. */
  readonly input: Tensor;
  /** Classes. */
  readonly labels: Tensor;
  /** Learning rate. */
  readonly rate: number;
}

/** Networks to compare. */
export type PeerModel = 'cnn' | 'resnet20' | 'mlp' | 'transformer';

/** Names layers as `@lithe/training` does: `conv1`, `conv2` and so on. */
class Names {
  readonly #counts = new Map<string, number>();

  next(kind: string): string {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    return `${kind}${count}`;
  }
}

/** Logits of a network. */
export function logitsOf<T>(
  model: PeerModel,
  ops: PeerOps<T>,
  { weights, x }: { weights: PeerWeights<T>; x: T },
): T {
  const own = (name: string): T => {
    const found = weights[name];
    if (found === undefined) throw new Error(`There is no weight "${name}".`);
    return found;
  };
  const linear = (value: T, name: string): T => ops.linear(value, own(`${name}.weight`), own(`${name}.bias`));
  switch (model) {
    case 'mlp':
      return linear(ops.relu(linear(ops.relu(linear(x, 'linear1')), 'linear2')), 'classifier');
    case 'cnn': {
      const block = (value: T, name: string): T =>
        ops.maxPool(ops.relu(ops.bias(ops.conv(value, own(`${name}.weight`), 1), own(`${name}.bias`))));
      const hidden = ops.relu(linear(ops.flatten(block(block(x, 'conv1'), 'conv2')), 'linear1'));
      return linear(hidden, 'classifier');
    }
    case 'resnet20':
      return linear(resnet(ops, own, x), 'classifier');
    case 'transformer':
      return linear(transformer(ops, own, x), 'classifier');
  }
}

function resnet<T>(ops: PeerOps<T>, own: (name: string) => T, image: T): T {
  const names = new Names();
  const block = (value: T, stride: number): T => {
    const y = ops.conv(value, own(`${names.next('conv')}.weight`), stride);
    const norm = names.next('norm');
    return ops.batchNorm(y, own(`${norm}.weight`), own(`${norm}.bias`));
  };
  let x = ops.relu(block(image, 1));
  for (let stage = 0; stage < 3; stage++) {
    for (let index = 0; index < 3; index++) {
      const narrows = stage > 0 && index === 0;
      const y = block(ops.relu(block(x, narrows ? 2 : 1)), 1);
      x = ops.relu(ops.add(y, narrows ? block(x, 2) : x));
    }
  }
  return ops.averagePool(x);
}

/** Four blocks of 64 tokens, 256 wide, 4 heads. */
function transformer<T>(ops: PeerOps<T>, own: (name: string) => T, tokens: T): T {
  const [length, width, heads] = [64, 256, 4];
  const names = new Names();
  const norm = (value: T): T => {
    const name = names.next('layernorm');
    return ops.layerNorm(value, own(`${name}.weight`), own(`${name}.bias`));
  };
  const dense = (value: T, name: string): T =>
    ops.add(ops.matmul(value, own(`${name}.weight`), true), own(`${name}.bias`));
  const attention = (value: T): T => {
    const name = names.next('attention');
    const split = (part: string, order: readonly number[]): T =>
      ops.transpose(ops.reshape(dense(value, `${name}.${part}`), [-1, length, heads, width / heads]), order);
    const scores = ops.scale(
      ops.matmul(split('query', [0, 2, 1, 3]), split('key', [0, 2, 3, 1]), false),
      1 / Math.sqrt(width / heads),
    );
    const mixed = ops.matmul(ops.softmax(scores), split('value', [0, 2, 1, 3]), false);
    return dense(ops.reshape(ops.transpose(mixed, [0, 2, 1, 3]), [-1, length, width]), `${name}.output`);
  };
  let x = ops.add(ops.gather(own('embedding1.weight'), tokens), own('position.weight'));
  for (let block = 0; block < 4; block++) {
    x = ops.add(x, attention(norm(x)));
    x = ops.add(x, dense(ops.gelu(dense(norm(x), names.next('linear'))), names.next('linear')));
  }
  return ops.meanTokens(norm(x));
}
