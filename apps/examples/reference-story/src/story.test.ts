import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { htmlReport, printRun, type RecipeFile, type RunReport, runRecipe } from '@lithe/cli';
import { type ImageSplit, type LabelledImages, loadImages, PIXELS } from '@lithe-internal/example-cnn/images';
import { plainAccuracy } from '@lithe-internal/example-cnn/plain-onnxruntime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storyRecipe } from './story.ts';
import { writeImages } from './write-images.ts';

const first = ({ pixels, labels }: LabelledImages, count: number): LabelledImages => ({
  pixels: pixels.subarray(0, count * PIXELS),
  labels: labels.subarray(0, count),
});

describe('the reference story', () => {
  let folder: string;
  let digits: ImageSplit;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lithe-story-'));
    const all = await loadImages('mnist');
    digits = { train: first(all.train, 384), test: first(all.test, 200) };
    await writeImages(path.join(folder, 'digits'), () => Promise.resolve(digits));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const smallRecipe = (): Promise<RecipeFile> =>
    storyRecipe({ seeds: 1, quick: true, images: path.join(folder, 'digits') });

  it('goes from training to integers, on from where it was stopped, and every file runs by itself', async () => {
    const runFolder = path.join(folder, 'run');
    const run = async (stopAt?: string): Promise<RunReport> => {
      const stop = new AbortController();
      return await runRecipe(await smallRecipe(), {
        folder: runFolder,
        signal: stop.signal,
        onPhase: (text) => {
          if (stopAt !== undefined && text.startsWith(stopAt)) stop.abort();
        },
      });
    };
    await expect(run('kd')).rejects.toMatchObject({ name: 'AbortError' });
    const report = await run();
    const [seed] = report.seeds;
    const steps = seed?.steps ?? [];
    const names = steps.map(({ name }) => name);
    expect(names.slice(0, names.indexOf('kd')).every((_, at) => steps[at]?.resumed)).toBe(true);
    expect(steps.filter(({ failure }) => failure !== undefined)).toEqual([]);
    const step = (name: string): (typeof steps)[number] => {
      const found = steps.find((one) => one.name === name);
      if (found === undefined) throw new Error(`there is no step ${name}`);
      return found;
    };
    const teacher = step('teacher');
    for (const name of ['pruned-l1', 'pruned-l2', 'alone', 'scratch', 'kd', 'dkd'])
      expect(step(name).macs / teacher.macs, name).toBeLessThanOrEqual(0.25);
    // The control trained from scratch, the one trained on, and the students trained for as many epochs.
    for (const name of ['alone', 'scratch', 'kd', 'dkd'])
      expect(step(name).pass.metrics['epochs']?.value).toBe(1);
    expect(step('scratch').pass.applied[0]).toMatch(/^draw \d+ weights anew$/);
    for (const name of ['int8', 'int8-aware'])
      expect(teacher.bytes / step(name).bytes, name).toBeGreaterThan(10);
    expect(report.limits.length).toBe(2);
    for (const name of ['teacher', 'kd', 'int8', 'int8-aware']) {
      const file = path.join(runFolder, step(name).file);
      expect(await plainAccuracy(file, digits.test), name).toBeCloseTo(step(name).metric ?? Number.NaN, 10);
    }
    const again = await run();
    expect(again.seeds[0]?.steps.every(({ resumed }) => resumed)).toBe(true);
    expect(again.seeds[0]?.steps.map(({ metric }) => metric)).toEqual(steps.map(({ metric }) => metric));
    expect(printRun(report)).toContain('int8-aware');
    expect(await htmlReport(report)).toContain('</html>');
  }, 120_000);

  it('takes seeds and threads from the command line', async () => {
    const { recipe } = await storyRecipe({ seeds: 2, threads: 4 });
    expect([recipe.seeds, recipe.target.threads]).toEqual([[0, 1], 4]);
    expect((await storyRecipe({})).recipe.seeds).toEqual([0, 1, 2]);
  });
});
