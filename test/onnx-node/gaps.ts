/** A test that is not asked to pass, and why. */
export interface Gap {
  /** Name of the case, or a pattern of names. */
  readonly cases: RegExp;
  /** Which check fails: the values, the inferred types, or both. */
  readonly check: 'values' | 'types';
  /** Why. */
  readonly reason: string;
}

const foreignRandom = 'the expected numbers are those of numpy’s generator';

/** Every check that does not pass. One that passes all the same fails the run. */
export const gaps: readonly Gap[] = [
  {
    cases: /^(adagrad|adam|momentum|nesterov_momentum)/,
    check: 'values',
    reason: 'ai.onnx.preview.training was never released; training steps are standard operators here',
  },
  { cases: /^bernoulli(_(double|seed))?(_expanded)?$/, check: 'values', reason: foreignRandom },
  { cases: /^training_dropout(_default)?(_mask)?$/, check: 'values', reason: foreignRandom },
  {
    cases: /^scan_sum$/,
    check: 'values',
    reason: 'Scan of opset 8 has another meaning, which no later opset can say; it is carried as it is',
  },
  {
    cases: /^resize_downsample_sizes_nearest_tf_half_pixel_for_nn$/,
    check: 'values',
    reason:
      'its coordinate mode was taken out in opset 13; no later opset can say it, so it is carried as it is',
  },
  {
    cases: /^cast_FLOAT_to_BFLOAT16$/,
    check: 'values',
    reason: 'the data of ONNX 1.12 cuts digits off where the specification rounds to nearest',
  },
  {
    cases: /^castlike_(BFLOAT16_to_FLOAT|FLOAT_to_BFLOAT16)(_expanded)?$/,
    check: 'values',
    reason: 'the files hold one element where the model declares 12',
  },
  {
    cases: /^qlinearmatmul_[23]D_int8_float(16|32)$/,
    check: 'values',
    reason: 'the data of ONNX 1.16 wraps where the specification saturates; later versions corrected it',
  },
  {
    cases: /^averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True$/,
    check: 'values',
    reason: 'the data of ONNX 1.16 counts elements beyond the padding; later versions corrected it',
  },
];
