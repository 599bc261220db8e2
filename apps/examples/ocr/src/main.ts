import { printCompression } from '@lithe/cli';
import { compressAll } from './story.ts';

/** Compresses the three models and prints the evidence. */
export async function main([folder = '.out/ocr']: readonly string[] = []): Promise<number> {
  const results = await compressAll({
    folder,
    calibrationLines: 48,
    testLines: 96,
    onPhase: (text) => process.stderr.write(`${text}\n`),
  });
  for (const { report, check, unchanged } of results) {
    process.stdout.write(
      `${printCompression(report)}${check} on held-out lines: ${(unchanged * 100).toFixed(2)} %\n\n`,
    );
  }
  return 0;
}
