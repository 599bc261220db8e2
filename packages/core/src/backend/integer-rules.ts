/**
 * What must surround an operator before a runtime computes it in integers.
 *
 * - `move`: moves elements. One dequantized input and one quantized output, at the same scale and zero point.
 * - `split`: as `move`, with several outputs.
 * - `read`: one dequantized input; the result is not a quantized tensor (`ArgMax`).
 * - `unary`: one dequantized input, one quantized output, of one type; scales may differ.
 * - `list`: all inputs dequantized, one quantized output, of one type (`Add`, `Concat`).
 * - `choice`: as `list`, with a condition in front (`Where`).
 * - `convolution`: input, weight and bias (if any) dequantized, one quantized output; the bias in int32.
 * - `product`: both operands dequantized; without a quantized output it hands out floats.
 * - `gemm`: all operands dequantized, the bias in int32, `beta` 1; without a quantized output it hands out floats.
 */
export type IntegerForm =
  | 'move'
  | 'split'
  | 'read'
  | 'unary'
  | 'list'
  | 'choice'
  | 'convolution'
  | 'product'
  | 'gemm';

/** How a runtime computes one operator in integers. */
export interface IntegerRule {
  /** What must surround it. */
  readonly form: IntegerForm;
  /** The operator that it becomes; its own name where it runs on integers as it is. */
  readonly becomes: string;
  /** Whether 16-bit integers are taken, too; false by default. */
  readonly wide?: boolean | undefined;
  /** Whether the scale must be positive, so that the order of elements stays; false by default. */
  readonly ordered?: boolean | undefined;
}

/**
 * How a runtime turns Quantize/Dequantize pairs into integer operators: data beside the backend, checked against the
 * runtime itself.
 */
export interface IntegerRules {
  /** By operator of `ai.onnx`. Others stay in float. */
  readonly operators: Readonly<Record<string, IntegerRule>>;
  /**
   * What becomes of signed 8-bit activations: `always`: integer kernels take them; `single-reader`: they are made
   * unsigned where a quantized tensor has one reader, and convolutions and matrix products stay in float elsewhere.
   */
  readonly signedActivations: 'always' | 'single-reader';
  /** Activation functions that vanish where the quantization behind them clips as they do. */
  readonly absorbed: readonly string[];
  /** Operators past which the runtime itself moves pairs, from before them to behind them and back. */
  readonly carriesPairs: readonly string[];
  /**
   * Operators with float weights that the runtime quantizes on its own, with one scale for all weights, when a
   * dequantized input and a quantized output surround them.
   */
  readonly quantizesWeights: readonly string[];
  /** Whether a `MatMul` and the addition of a constant vector become a `Gemm` before pairs are looked for. */
  readonly joinsProductAndBias: boolean;
}

/**
 * What integer arithmetic costs on a target, for planning. The unit is what one multiply-accumulate of a dense
 * convolution or matrix product saves in integers.
 */
export interface IntegerCosts {
  /** What converting one element between float and integer costs. */
  readonly conversion: number;
  /** What a multiply-accumulate of a depthwise convolution saves; below 0 where its integer form is the slower one. */
  readonly depthwise: number;
}
