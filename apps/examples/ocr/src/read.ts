import { readFileSync } from 'node:fs';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { ctcGreedyDecode, sliceRows, type Tensor } from '@lithe/core';

/** Runs a model on every sample by itself, and gives its first output for each. */
export async function runSamples(model: string, inputs: Tensor): Promise<readonly Tensor[]> {
  const backend = await onnxruntimeNode({ threads: 2 });
  try {
    const executable = await backend.compile({ kind: 'onnx', file: model });
    const [input, output] = [executable.inputNames[0] as string, executable.outputNames[0] as string];
    const outputs: Tensor[] = [];
    for (let sample = 0; sample < (inputs.shape[0] as number); sample++) {
      const results = await executable.run({ [input]: sliceRows(inputs, sample, sample + 1) });
      outputs.push(results[output] as Tensor);
    }
    return outputs;
  } finally {
    await backend.dispose();
  }
}

/** Reads texts from the recognizer's scores `[1, T, classes]`: class 0 is the blank, the last one a space. */
export function decodeTexts(scores: readonly Tensor[], keys: readonly string[]): readonly string[] {
  return scores.map((tensor) => {
    const [classes = []] = ctcGreedyDecode(tensor);
    return classes.map((index) => keys[index - 1] ?? ' ').join('');
  });
}

/** The characters that the recognizer knows, in the order of its classes. */
export function readKeys(file: string): readonly string[] {
  return readFileSync(file, 'utf8').replace(/\n$/, '').split('\n');
}
