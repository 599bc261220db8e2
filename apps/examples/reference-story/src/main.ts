import path from 'node:path';
import { parseArgs } from 'node:util';
import { printRun, runRecipe } from '@lithe/cli';
import { loadImages } from '@lithe-internal/example-cnn/images';
import { storyRecipe } from './story.ts';
import { writeImages } from './write-images.ts';

const usage = 'npm start -- [--seeds 3] [--threads 1] [--quick] [--fresh]\n';

/** Writes Fashion-MNIST to files, runs the recipe, and prints the table; the report lies in the run folder. */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seeds: { type: 'string' },
      threads: { type: 'string' },
      quick: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
    },
  });
  const [seeds, threads] = [values.seeds, values.threads].map((text) =>
    text === undefined ? undefined : Number(text),
  );
  if (
    positionals.length > 0 ||
    [seeds, threads].some((one) => one !== undefined && !(Number.isInteger(one) && one >= 1))
  ) {
    process.stderr.write(usage);
    return 2;
  }
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const say = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  const folder = path.join(import.meta.dirname, '../.out');
  say('reading Fashion-MNIST');
  await writeImages(path.join(folder, 'fashion-mnist'), () => loadImages('fashion'));
  const runFolder = path.join(folder, values.quick ? 'quick' : 'run');
  const recipe = await storyRecipe({ seeds, threads, quick: values.quick });
  const report = await runRecipe(recipe, {
    folder: runFolder,
    fresh: values.fresh,
    signal: stop.signal,
    onPhase: (text) => say(`${new Date().toISOString().slice(11, 19)} ${text}`),
    onProgress: progressLine(),
    log: { warn: (message) => say(`warning: ${message}`) },
  }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
    return undefined;
  });
  if (report === undefined) {
    say('stopped; the same command goes on from here');
    return 130;
  }
  process.stdout.write(printRun(report));
  say(`report: ${path.join(runFolder, 'report.html')}`);
  return report.limits.every(({ met }) => met) ? 0 : 1;
}

/** On a terminal, one line that is written over and over. */
function progressLine(): (event: { readonly task: string; readonly label?: string | undefined }) => void {
  return ({ task, label }) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${task} ${label ?? ''}\r`);
  };
}
