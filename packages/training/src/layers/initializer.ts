import { errors, type Rng, Tensor } from '@lithe/core';

/** What an {@link Initializer} is asked for: one weight tensor. */
export interface WeightRequest {
  /** Shape of the tensor. */
  readonly shape: readonly number[];
  /** Inputs that each output sums over: `I/groups * kernel` of a convolution, the width of a linear layer. */
  readonly fanIn: number;
  /** Outputs that each input reaches. */
  readonly fanOut: number;
  /** Randomness: the same stream gives the same weights. */
  readonly rng: Rng;
}

/** Makes the first value of a weight. */
export type Initializer = (request: WeightRequest) => Tensor<'float32'>;

function elements(shape: readonly number[]): number {
  let product = 1;
  for (const dim of shape) product *= dim;
  return product;
}

function draw(request: WeightRequest, next: (rng: Rng) => number): Tensor<'float32'> {
  const values = new Float32Array(elements(request.shape));
  for (let index = 0; index < values.length; index++) values[index] = next(request.rng);
  return Tensor.from('float32', request.shape, values);
}

/** Every element the same: zeros for biases, ones for scales. */
export function filledWith(value: number): Initializer {
  return ({ shape }) => Tensor.from('float32', shape, new Float32Array(elements(shape)).fill(value));
}

/** Options of {@link kaimingNormal} and {@link kaimingUniform}. */
export interface KaimingOptions {
  /** Which fan keeps its variance: `in` (default) that of activations, `out` that of gradients. */
  readonly fan?: 'in' | 'out' | undefined;
  /** Slope of a leaky ReLU behind the layer; 0, a ReLU, by default. The gain is sqrt(2 / (1 + slope^2)). */
  readonly slope?: number | undefined;
}

function kaimingDeviation(request: WeightRequest, { fan = 'in', slope = 0 }: KaimingOptions): number {
  return Math.sqrt(2 / (1 + slope * slope) / (fan === 'in' ? request.fanIn : request.fanOut));
}

/** Normal with standard deviation gain / sqrt(fan), for layers before a ReLU (He et al., "Delving Deep into Rectifiers", 2015). */
export function kaimingNormal(options: KaimingOptions = {}): Initializer {
  return (request) => {
    const deviation = kaimingDeviation(request, options);
    return draw(request, (rng) => rng.normal() * deviation);
  };
}

/** Uniform with the deviation of {@link kaimingNormal}: bounds of plus and minus sqrt(3) gain / sqrt(fan). */
export function kaimingUniform(options: KaimingOptions = {}): Initializer {
  return (request) => {
    const bound = Math.sqrt(3) * kaimingDeviation(request, options);
    return draw(request, (rng) => (2 * rng.next() - 1) * bound);
  };
}

/** Normal with deviation sqrt(2 / (fanIn + fanOut)) (Glorot and Bengio, 2010), for tanh, attention and outputs. */
export function xavierNormal(options: GainOptions = {}): Initializer {
  return (request) => {
    const deviation = (options.gain ?? 1) * Math.sqrt(2 / (request.fanIn + request.fanOut));
    return draw(request, (rng) => rng.normal() * deviation);
  };
}

/** Uniform with bounds of plus and minus sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio, 2010). */
export function xavierUniform(options: GainOptions = {}): Initializer {
  return (request) => {
    const bound = (options.gain ?? 1) * Math.sqrt(6 / (request.fanIn + request.fanOut));
    return draw(request, (rng) => (2 * rng.next() - 1) * bound);
  };
}

/** Options of {@link xavierNormal}, {@link xavierUniform} and {@link orthogonal}. */
export interface GainOptions {
  /** Factor on the weights; 1 by default. */
  readonly gain?: number | undefined;
}

/** Options of {@link truncatedNormal}. */
export interface TruncatedNormalOptions {
  /** Standard deviation before it is cut; 0.02 by default, as vision transformers have it. */
  readonly deviation?: number | undefined;
  /** Draws further than this many deviations from 0 are drawn again; 2 by default. */
  readonly cut?: number | undefined;
}

/**
 * Normal, without its tails.
 *
 * @throws {LitheError} OPTIONS_INVALID when the cut is below a tenth of a deviation: nearly every draw would be thrown away
 */
export function truncatedNormal(options: TruncatedNormalOptions = {}): Initializer {
  const { deviation = 0.02, cut = 2 } = options;
  if (!(cut >= 0.1)) throw errors.optionsInvalid('truncatedNormal', ['"cut" must be at least 0.1.']);
  return (request) =>
    draw(request, (rng) => {
      let value = rng.normal();
      while (Math.abs(value) > cut) value = rng.normal();
      return value * deviation;
    });
}

/**
 * Rows (or columns, where there are fewer) that are orthogonal and of length `gain`, the tensor taken as a matrix
 * `[first dim, the rest]` (Saxe et al., "Exact solutions to the nonlinear dynamics of learning", 2014). Costs
 * rows^2 * columns.
 */
export function orthogonal(options: GainOptions = {}): Initializer {
  const { gain = 1 } = options;
  return (request) => {
    const { shape, rng } = request;
    const rows = shape[0] ?? 1;
    const columns = elements(shape.slice(1));
    const [count, width] = rows <= columns ? [rows, columns] : [columns, rows];
    const basis = orthonormalRows(count, width, rng);
    const values = new Float32Array(rows * columns);
    for (let row = 0; row < count; row++) {
      for (let column = 0; column < width; column++) {
        const at = rows <= columns ? row * columns + column : column * columns + row;
        values[at] = gain * basis[row * width + column]!;
      }
    }
    return Tensor.from('float32', shape, values);
  };
}

/** Gram-Schmidt on Gaussian rows, each projected twice, for once leaves rounding errors of the size of the overlap. */
function orthonormalRows(count: number, width: number, rng: Rng): Float64Array {
  const basis = Float64Array.from({ length: count * width }, () => rng.normal());
  for (let row = 0; row < count; row++) {
    const own = basis.subarray(row * width, (row + 1) * width);
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < row; other++) {
        const before = basis.subarray(other * width, (other + 1) * width);
        let overlap = 0;
        for (let index = 0; index < width; index++) overlap += own[index]! * before[index]!;
        for (let index = 0; index < width; index++) own[index] = own[index]! - overlap * before[index]!;
      }
    }
    let square = 0;
    for (let index = 0; index < width; index++) square += own[index]! ** 2;
    const length = Math.sqrt(square);
    for (let index = 0; index < width; index++) own[index] = own[index]! / length;
  }
  return basis;
}
