import { parseArgs } from 'node:util';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, createDrift, type Model, measureLatency, optimize, type PassStep } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { type RecoveryOptions, smoothQuant, staticInt8 } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { howToGetMiniLm } from './encoder/minilm.ts';
import { encoderSubject } from './quantization/encoder.ts';
import { datasetOf, type Evaluation, type Subject } from './quantization/subject.ts';

const int8 = (recovery?: RecoveryOptions): PassStep => staticInt8({ conversionCost: 0, recovery });

const trials: readonly (readonly [string, () => readonly PassStep[]])[] = [
  ['static int8', () => [int8()]],
  ['+ fast bias correction', () => [int8({ biasCorrection: 'fast' })]],
  ['smoothed, alpha auto, then static int8', () => [smoothQuant(), int8()]],
  ['smoothed, alpha auto, nothing inserted', () => [smoothQuant({ insert: false }), int8()]],
  ['smoothed, alpha auto, + fast bias correction', () => [smoothQuant(), int8({ biasCorrection: 'fast' })]],
  ['smoothed, alpha 0.5', () => [smoothQuant({ alpha: 0.5 }), int8()]],
  ['smoothed, alpha 0.8', () => [smoothQuant({ alpha: 0.8 }), int8()]],
];

async function evaluate(
  model: Model,
  subject: Subject,
  backend: Backend,
): Promise<Evaluation & { readonly milliseconds: number }> {
  const executable = await backend.compile({ kind: 'onnx', file: await writeOnnx(model) });
  try {
    const evaluation = await subject.evaluate(executable);
    const timed = await measureLatency([{ name: 'model', executable }], subject.timed, { rounds: 5 });
    return { ...evaluation, milliseconds: timed.entries[0]?.medianMs ?? 0 };
  } finally {
    await executable.dispose();
  }
}

/**
 * SmoothQuant on a transformer with real weights, all-MiniLM-L6-v2: how many e-mails are found by their subject, and the
 * signal to noise of their embeddings, in static int8 with and without it.
 *
 * `--minilm FOLDER`, `--mails 200` held out, `--samples 64` for calibration, `--tokens 64`, `--only WORD`, `--threads 1`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minilm: { type: 'string' },
      mails: { type: 'string', default: '200' },
      samples: { type: 'string', default: '64' },
      tokens: { type: 'string', default: '64' },
      only: { type: 'string', default: '' },
      threads: { type: 'string', default: '1' },
    },
  });
  if (values.minilm === undefined) throw new Error(howToGetMiniLm);
  const backend = await onnxruntimeNode({ threads: Number(values.threads) });
  try {
    const subject = await encoderSubject({
      folder: values.minilm,
      calibration: Number(values.samples),
      mails: Number(values.mails),
      tokens: Number(values.tokens),
    });
    const data = datasetOf(subject.calibration, 'e-mails');
    const { model: float } = await optimize(subject.model, [simplify()], { check: 'off' });
    const expected = await evaluate(float, subject, backend);
    process.stdout.write('| all-MiniLM-L6-v2 | found % | SQNR dB | ms | seconds to make |\n');
    process.stdout.write('| --- | --- | --- | --- | --- |\n');
    const line = (name: string, found: Evaluation & { milliseconds: number }, seconds: number): void => {
      const drift = createDrift();
      for (const [index, outputs] of expected.outputs.entries())
        drift.add(outputs, found.outputs[index] ?? {});
      const cells = [
        name,
        (100 * found.accuracy).toFixed(1),
        drift.result().sqnrDb.toFixed(1),
        found.milliseconds.toFixed(2),
        seconds.toFixed(1),
      ];
      process.stdout.write(`| ${cells.join(' | ')} |\n`);
    };
    line('float', expected, 0);
    for (const [name, steps] of trials) {
      if (!name.includes(values.only)) continue;
      const started = performance.now();
      const { model, report } = await optimize(float, steps(), {
        backend,
        data,
        target: nodeCpuTarget(),
        check: 'off',
      });
      line(name, await evaluate(model, subject, backend), (performance.now() - started) / 1000);
      for (const row of report.steps[0]?.tables?.['smoothing']?.rows ?? [])
        process.stderr.write(`${row.join(' ')}\n`);
    }
  } finally {
    await backend.dispose();
  }
  return 0;
}
