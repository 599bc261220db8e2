/**
 * A seeded source of random numbers. `fork` gives an independent stream by name, so that adding a consumer does
 * not shift the numbers of another.
 */
export interface Rng {
  /** Uniform in [0, 1), 32 random bits. */
  next(): number;
  /** A whole number in [0, bound). */
  integer(bound: number): number;
  /** Standard normal. */
  normal(): number;
  /** An independent stream: same seed and name, same numbers. */
  fork(name: string): Rng;
  /** Shuffles in place (Fisher-Yates). */
  shuffle(items: { [index: number]: number; readonly length: number }): void;
}

function hash(text: string, seed: number): number {
  let state = (seed ^ 0x811c9dc5) >>> 0;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
    state ^= state >>> 15;
  }
  return state >>> 0;
}

/** splitmix32, to spread a seed over the generator's state. */
function splitmix(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/**
 * Makes a seeded generator: xoshiro128** 1.1 (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators",
 * 2021), seeded by splitmix32. The same seed gives the same numbers on every platform.
 *
 * @param seed a 32-bit number; other numbers are reduced to one
 */
export function createRng(seed: number): Rng {
  const spread = splitmix(seed);
  let a = spread();
  let b = spread();
  let c = spread();
  let d = spread() | 1;
  let spare: number | undefined;
  const bits = (): number => {
    const scaled = Math.imul(b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const rng: Rng = {
    next: () => bits() / 4294967296,
    integer: (bound) => Math.floor((bits() / 4294967296) * bound),
    normal: () => {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return value;
      }
      // Box-Muller; 1 - u keeps the logarithm finite.
      const radius = Math.sqrt(-2 * Math.log(1 - bits() / 4294967296));
      const angle = 2 * Math.PI * (bits() / 4294967296);
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    fork: (name) => createRng(hash(name, seed)),
    shuffle: (items) => {
      for (let index = items.length - 1; index > 0; index--) {
        const other = rng.integer(index + 1);
        const held = items[index] as number;
        items[index] = items[other] as number;
        items[other] = held;
      }
    },
  };
  return rng;
}
