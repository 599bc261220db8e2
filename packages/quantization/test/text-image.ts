import { Tensor } from '@lithe/core';

/** Letters drawn by hand, five dots wide and seven high: enough for a text recognizer to see text. */
const glyphs: Readonly<Record<string, string>> = {
  A: '.###. #...# #...# ##### #...# #...# #...#',
  C: '.###. #...# #.... #.... #.... #...# .###.',
  E: '##### #.... #.... ####. #.... #.... #####',
  H: '#...# #...# #...# ##### #...# #...# #...#',
  I: '.###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.',
  L: '#.... #.... #.... #.... #.... #.... #####',
  M: '#...# ##.## #.#.# #.#.# #...# #...# #...#',
  N: '#...# ##..# #.#.# #.#.# #..## #...# #...#',
  O: '.###. #...# #...# #...# #...# #...# .###.',
  R: '####. #...# #...# ####. #.#.. #..#. #...#',
  S: '.#### #.... #.... .###. ....# ....# ####.',
  T: '##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..',
  U: '#...# #...# #...# #...# #...# #...# .###.',
  1: '..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.',
  2: '.###. #...# ....# ...#. ..#.. .#... #####',
  7: '##### ....# ...#. ..#.. ..#.. .#... .#...',
};

/** Where and how large text is drawn. */
export interface TextPlace {
  /** Height and width of the image in pixels. */
  readonly size: readonly [number, number];
  /** Pixels per dot. */
  readonly dot: number;
  /** Upper left corner: row, column. */
  readonly at: readonly [number, number];
}

/** Dark text on a light ground, smoothed, as a `[1, 3, height, width]` image with values in [-1, 1]. */
export function textImage(text: string, place: TextPlace): Tensor<'float32'> {
  const [height, width] = place.size;
  const plane = new Float32Array(height * width).fill(0.85);
  const { dot, at } = place;
  [...text].forEach((letter, index) => {
    (glyphs[letter] ?? '').split(' ').forEach((row, y) => {
      [...row].forEach((mark, x) => {
        if (mark !== '#') return;
        for (let dy = 0; dy < dot; dy++) {
          for (let dx = 0; dx < dot; dx++) {
            const pixelY = at[0] + y * dot + dy;
            const pixelX = at[1] + (index * 6 + x) * dot + dx;
            if (pixelY < height && pixelX < width) plane[pixelY * width + pixelX] = -0.8;
          }
        }
      });
    });
  });
  const data = new Float32Array(3 * height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      // A box of 3 by 3, as a camera or a scaled picture would blur it.
      let sum = 0;
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          const row = Math.min(height - 1, Math.max(0, y + dy));
          sum += plane[row * width + Math.min(width - 1, Math.max(0, x + dx))]!;
        }
      }
      for (let channel = 0; channel < 3; channel++) data[(channel * height + y) * width + x] = sum / 9;
    }
  }
  return Tensor.from('float32', [1, 3, height, width], data);
}
