import type { Tolerance } from './compare.ts';

/** What ONNX itself asks of a backend, tightened: results here are rounded once from float64. */
const usual: Tolerance = { absolute: 1e-6, relative: 1e-5 };

/** Looser ones, with the cause. */
const looser: readonly { readonly cases: RegExp; readonly tolerance: Tolerance; readonly cause: string }[] = [
  {
    cases: /window/,
    tolerance: { absolute: 1e-4, relative: 0 },
    cause: 'the data of ONNX 1.12 was made with pi = 3.1415',
  },
  {
    cases: /^(gridsample_bicubic|gridsample.*|roialign_.*|resize_.*)$/,
    tolerance: { absolute: 1e-4, relative: 1e-4 },
    cause: 'the data was typed in with four decimals',
  },
];

/** The tolerance of a case. */
export function toleranceOf(name: string): Tolerance {
  return looser.find((item) => item.cases.test(name))?.tolerance ?? usual;
}
