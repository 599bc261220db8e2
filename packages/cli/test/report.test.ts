import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { htmlReport, printRun, type RunReport } from '@lithe/cli';
import { afterAll, describe, expect, it } from 'vitest';
import { lithe } from './lithe.ts';
import { runReportFixture } from './run-report-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, report: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof report === 'string' ? report : JSON.stringify(report));
  return path;
}

describe('lithe report', () => {
  it('prints a run again and writes the same page as the run did', async () => {
    const report = runReportFixture({ seeds: 2 });
    const run = join(folder, 'story.run');
    mkdirSync(run);
    writeFileSync(join(run, 'report.json'), JSON.stringify(report));
    const page = join(folder, 'report.html');
    expect(await lithe('report', run, '-o', page)).toEqual({ code: 0, out: printRun(report), err: '' });
    expect(readFileSync(page, 'utf8')).toBe(await htmlReport(report));
    const again = await lithe('report', join(run, 'report.json'), '--json');
    expect(JSON.parse(again.out)).toEqual(JSON.parse(JSON.stringify(report)));
  });

  it('reads figures that JSON has no word for', async () => {
    const report = runReportFixture({ steps: ['teacher', 'pruned'] });
    const [seed] = report.seeds;
    const steps = seed?.steps.map((step) => ({
      ...step,
      pass: { ...step.pass, metrics: { gap: { value: Number.NaN, unit: '' } } },
      drift: { sqnrDb: Number.POSITIVE_INFINITY, cosine: 1, maxAbs: 0 },
    }));
    const path = write('infinite.json', { ...report, seeds: [{ ...seed, steps }] });
    expect(await lithe('report', path, '-o', join(folder, 'infinite.html'))).toMatchObject({
      code: 0,
      err: '',
    });
    expect(readFileSync(join(folder, 'infinite.html'), 'utf8')).toContain('equal outputs');
  });

  it('never overwrites what it reads', async () => {
    const run = join(folder, 'kept.run');
    mkdirSync(run);
    const path = join(run, 'report.json');
    writeFileSync(path, JSON.stringify(runReportFixture()));
    const before = readFileSync(path, 'utf8');
    for (const from of [path, run]) {
      const call = await lithe('report', from, '-o', path);
      expect(call).toMatchObject({ code: 2, out: '' });
      expect(call.err).toContain('would overwrite');
    }
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it('says where a page cannot be written', async () => {
    const path = write('good.json', runReportFixture());
    const call = await lithe('report', path, '-o', join(path, 'report.html'));
    expect(call).toMatchObject({ code: 1, out: '' });
    expect(call.err).toContain('FILE_NOT_WRITTEN');
  });
});

interface Hostile {
  readonly name: string;
  /** Changes a report, or is the text of the file. */
  readonly content: string | ((report: Mutable) => unknown);
  readonly says: string;
}

// biome-ignore lint/suspicious/noExplicitAny: what JSON may hold is what is tried here
type Mutable = any;

function optionsOf(options: unknown): RunReport {
  const report = JSON.parse(JSON.stringify(runReportFixture())) as Mutable;
  report.seeds[0].steps[0].pass.options = options;
  return report as RunReport;
}

/** Changes what a step of the first seed says. */
function withStep(index: number, changes: object): (report: Mutable) => unknown {
  return (report) => {
    Object.assign(report.seeds[0].steps[index], changes);
    return report;
  };
}

const hostile: readonly Hostile[] = [
  { name: 'no JSON', content: '<html>', says: 'not JSON' },
  { name: 'a number', content: '7', says: 'no report of a run' },
  { name: 'of another kind', content: '{"opset":21}', says: 'report: ' },
  { name: 'of a later version', content: (report) => ({ ...report, report: 2 }), says: 'version 1' },
  { name: 'no seeds', content: (report) => ({ ...report, seeds: [] }), says: 'seeds' },
  {
    name: 'a result that is no step',
    content: (report) => ({ ...report, result: 'nowhere' }),
    says: 'result: "nowhere" is none of the steps',
  },
  {
    name: 'two steps of one name',
    content: withStep(1, { name: 'teacher' }),
    says: 'seeds[0].steps[1].name: "teacher" is taken',
  },
  {
    name: 'steps in a circle',
    content: withStep(0, { from: 'int8' }),
    says: 'seeds[0].steps[0].from: "int8" is no step before it',
  },
  { name: 'a text for bytes', content: withStep(2, { bytes: '12' }), says: 'seeds[0].steps[2].bytes' },
  {
    name: 'rows that do not fit',
    content: (report) => {
      report.seeds[0].steps[0].pass.tables.epochs.rows[3] = [1];
      return report;
    },
    says: 'another number of cells',
  },
  {
    name: 'options without a floor',
    content: JSON.stringify(optionsOf('deep')).replace('"deep"', '['.repeat(5000) + ']'.repeat(5000)),
    says: 'nested deeper than 64',
  },
  {
    name: 'more seeds than can be shown',
    content: (report) => ({ ...report, seeds: Array.from({ length: 101 }, () => report.seeds[0]) }),
    says: 'seeds',
  },
];

describe('a report that is none', () => {
  it.each(hostile)('ends in a typed error: $name', async ({ content, says }) => {
    const report = JSON.parse(JSON.stringify(runReportFixture())) as RunReport;
    const path = write('hostile.json', typeof content === 'string' ? content : content(report));
    const page = join(folder, 'hostile.html');
    const call = await lithe('report', path, '-o', page);
    expect(call).toMatchObject({ code: 1, out: '' });
    expect(call.err).toContain('FILE_INVALID');
    expect(call.err).toContain(says);
    expect(existsSync(page)).toBe(false);
  });

  it('ends in a typed error where there is no file, and where it is too large', async () => {
    const missing = await lithe('report', join(folder, 'missing.json'));
    expect(missing.err).toContain('FILE_NOT_FOUND');
    const large = write('large.json', ' '.repeat(65 * 2 ** 20));
    expect((await lithe('report', large)).err).toContain('LIMIT_EXCEEDED');
  });
});
