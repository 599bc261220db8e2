import { plugin as quantization } from '@lithe/quantization';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { PassDescription } from '../../src/commands/passes.ts';
import { lithe } from '../lithe.ts';
import { makeWorkplace } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

describe('lithe passes', () => {
  it('lists what recipes can use, of all plugins that come along', async () => {
    const call = await lithe('passes', '--json');
    expect(call).toMatchObject({ code: 0, err: '' });
    const { passes } = JSON.parse(call.out) as { passes: readonly PassDescription[] };
    const of = (plugin: string): readonly string[] =>
      passes.filter((pass) => pass.plugin === plugin).map(({ name }) => name);
    expect(of('@lithe/quantization')).toEqual(quantization.passes.map(({ spec }) => spec.name));
    expect(new Set(passes.map(({ plugin }) => plugin)).size).toBe(5);
    expect(passes.find(({ name }) => name === 'training/train')).toMatchObject({
      version: 1,
      needs: ['backend', 'training-data'],
      options: { required: ['epochs', 'learningRate'] },
    });
    const text = (await lithe('passes')).out;
    const flat = text.replaceAll(/\n +/g, ' ');
    for (const { name, version, needs, summary } of passes)
      expect(flat.split('\n')).toContain(
        `${name}@${version}${needs.length === 0 ? '' : `  (needs ${needs.join(', ')})`} ${summary}`,
      );
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('tells the options of one pass', async () => {
    const { code, out } = await lithe('passes', 'training/train');
    expect(code).toBe(0);
    expect(out).toContain('training/train@1, of @lithe/training: Trains a model on labelled samples.');
    expect(out).toMatch(/^epochs +integer ≥ 1 +must be given$/m);
    expect(out).toMatch(/^optimizer +\{ name: adamw, .*\n +\| \{ name: adam, /m);
    expect(await lithe('passes', 'training/trian')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('Did you mean "training/train"?'),
    });
  });

  it('takes plugins of others, as a recipe in this folder would', async () => {
    const folder = vi.spyOn(process, 'cwd').mockReturnValue(place.folder);
    try {
      const { code, out } = await lithe('passes', 'x/count', '--plugin', 'lithe-plugin-x');
      expect(code).toBe(0);
      expect(out).toBe(
        'x/count@1, of lithe-plugin-x: Counts for a while.\nneeds: training-data\n\nIts schema does not tell which options it takes.\n',
      );
      const missing = await lithe('passes', '--plugin', 'lithe-plugin-y');
      expect(missing).toMatchObject({ code: 2, err: expect.stringContaining('npm install lithe-plugin-y') });
    } finally {
      folder.mockRestore();
    }
  });
});
