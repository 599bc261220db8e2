import { htmlReport, type RunReport } from '@lithe/cli';
import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { type FixtureOptions, runReportFixture } from './run-report-fixture.ts';

type Page = ReturnType<typeof parseHTML>['document'];

async function pageOf(report: RunReport): Promise<{ readonly text: string; readonly page: Page }> {
  const text = await htmlReport(report);
  return { text, page: parseHTML(text).document };
}

const rendered = new Map<FixtureOptions, ReturnType<typeof pageOf>>();

/** The page of a variant, made once for all tests that read it. */
function variantPage(options: FixtureOptions): ReturnType<typeof pageOf> {
  const known = rendered.get(options) ?? pageOf(runReportFixture(options));
  rendered.set(options, known);
  return known;
}

function texts(page: Page, selector: string): string[] {
  return [...page.querySelectorAll(selector)].map((element) => element.textContent.trim());
}

function countIn(page: Page, selector: string): number {
  return page.querySelectorAll(selector).length;
}

const variants: readonly (readonly [string, FixtureOptions])[] = [
  ['one seed', {}],
  ['three seeds', { seeds: 3 }],
  ['thirty layers', { layers: 30, steps: ['teacher', 'int8'] }],
  ['sixty layers', { layers: 60, steps: ['teacher', 'int8'] }],
  ['no metric', { metric: false }],
  ['neither metric nor latency', { metric: false, batches: [], steps: ['pruned'] }],
  ['one step', { steps: ['teacher'] }],
  ['a step that failed', { failed: 'int8-after', seeds: 2 }],
  ['a result that failed', { failed: 'int8', steps: ['teacher', 'int8'] }],
  ['no steps', { steps: [] }],
];

describe('htmlReport', () => {
  it.each(variants)('has every step in its table and its own part: %s', async (_, options) => {
    const report = runReportFixture(options);
    const { page } = await variantPage(options);
    const names = ['original', ...(report.seeds[0]?.steps.map(({ name }) => name) ?? [])];
    const rows = texts(page, '#steps tbody th');
    expect(rows).toHaveLength(names.length);
    for (const [index, name] of names.entries()) {
      expect(rows[index]?.startsWith(name)).toBe(true);
      if (index > 0) expect(countIn(page, `details#step-${index}`)).toBe(1);
    }
    // Every link of the page leads somewhere in it.
    for (const link of page.querySelectorAll('a'))
      expect(page.getElementById(link.getAttribute('href')?.slice(1) ?? '')).not.toBeNull();
    const ids = [...page.querySelectorAll('[id]')].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(variants)('asks for nothing from anywhere, and stays small: %s', async (_, options) => {
    const { text, page } = await variantPage(options);
    expect(text).not.toMatch(/\bhttps?:|url\(|@import|\ssrc=|<link|<iframe|<object|<embed/i);
    expect(countIn(page, 'script')).toBe(1);
    expect(text.length).toBeLessThan(400_000);
  });

  it.each(variants)(
    'says in words what every plot shows, and never draws what is no number: %s',
    async (_, options) => {
      const { text, page } = await variantPage(options);
      for (const drawing of page.querySelectorAll('svg')) {
        if (drawing.getAttribute('aria-hidden') === 'true') continue;
        expect(drawing.getAttribute('role')).toBe('img');
        expect(drawing.getAttribute('aria-label')?.length).toBeGreaterThan(10);
      }
      expect(countIn(page, 'figure')).toBe(countIn(page, 'figure > figcaption'));
      expect(text).not.toMatch(/NaN|Infinity|undefined|\[object/);
    },
  );

  it('draws a point for each step and each seed, and a name for each point', async () => {
    const report = runReportFixture({ seeds: 3 });
    const models = 1 + (report.seeds[0]?.steps.length ?? 0);
    const { page } = await pageOf(report);
    const plots = [...page.querySelectorAll('#trade-offs figure.trade-off svg')];
    expect(plots).toHaveLength(3);
    for (const plot of plots) {
      const points = plot.querySelector('g.dot:not(.seeds)');
      expect(points?.children).toHaveLength(models);
      // Those far below the axis are drawn at its end, without their seeds.
      const below = plot.textContent.split('↓').length - 1;
      expect(below).toBe(3);
      expect(plot.querySelector('g.seeds')?.children).toHaveLength(3 * (models - below));
      for (const { name } of report.seeds[0]?.steps ?? []) expect(plot.textContent).toContain(name);
    }
  });

  it('draws a curve for each step that trained, a bar for each layer, and weights before and after', async () => {
    const { page } = await pageOf(runReportFixture({ layers: 5 }));
    const trained = ['teacher', 'alone', 'from-scratch', 'distilled', 'int8'];
    const curves = page.querySelector('#training .curves svg');
    expect(curves?.querySelectorAll('g.line path')).toHaveLength(trained.length);
    for (const name of trained) expect(curves?.textContent).toContain(name);
    expect(countIn(page, '#training .table-plot')).toBe(trained.length);
    expect(countIn(page, '#step-8 .table-plot g.bar rect')).toBe(5);
    const weights = [...page.querySelectorAll('#weights figure svg')];
    expect(weights).toHaveLength(5);
    for (const plot of weights) {
      expect(plot.querySelectorAll('g.area path')).toHaveLength(1);
      expect(plot.querySelectorAll('g.line path')).toHaveLength(1);
    }
  });

  it('says of which seed weights and changes are, where there are several', async () => {
    const { page: one } = await pageOf(runReportFixture());
    expect(one.querySelector('#weights')?.textContent).not.toContain('seed');
    expect(one.querySelector('#step-8')?.textContent).not.toContain('those of seed');
    const { page: three } = await pageOf(runReportFixture({ seeds: 3 }));
    expect(three.querySelector('#weights')?.textContent).toContain('Of seed 0.');
    expect(three.querySelector('#step-8')?.textContent).toMatch(/are those of seed 0\..* Of seed 0\./s);
  });

  it('tells how the result stands to the baseline, and which limits are not met', async () => {
    const report = runReportFixture();
    const { page } = await pageOf(report);
    // 3,273,984 bytes of the teacher over 214,272 of the result.
    expect(texts(page, '.tile .figure')[0]).toBe('15.28x smaller');
    expect(texts(page, '.verdict')[0]).toContain('1 of 3 limits not met');
    expect(texts(page, '#limits tbody tr td:last-child')).toEqual(['✔ met', '✔ met', '✘ not met']);
    expect(texts(page, '.callout li')).toEqual(report.warnings);
    expect(texts(page, '#recipe pre')).toEqual([report.recipe.trim()]);
  });

  it('shows names of any kind as they are', async () => {
    const payload = `"><img src=x onerror=alert(1)></script></style></svg><script>alert(1)</script>'<!-- & &amp; `;
    const hostile = (value: unknown, key = ''): unknown => {
      if (Array.isArray(value)) return value.map((one) => hostile(one, key));
      if (typeof value === 'object' && value !== null)
        return Object.fromEntries(
          Object.entries(value).map(([name, one]) => [
            key === 'metrics' ? payload + name : name,
            hostile(one, name),
          ]),
        );
      const kept = new Set(['kind', 'baseline', 'result', 'from', 'x', 'y']);
      return typeof value === 'string' && !kept.has(key) ? `${value}${payload}` : value;
    };
    const report = runReportFixture();
    const changed = hostile(report) as RunReport;
    const named = (name: string | null): string | null => (name === null ? null : `${name}${payload}`);
    const all: RunReport = {
      ...changed,
      baseline: `${report.baseline}${payload}`,
      result: `${report.result}${payload}`,
      seeds: changed.seeds.map((seed) => ({
        ...seed,
        steps: seed.steps.map((step) => ({ ...step, from: named(step.from) })),
      })),
    };
    const { page } = await pageOf(all);
    const { page: plain } = await pageOf(report);
    for (const selector of ['img', 'script', 'style', 'section', 'details', 'iframe'])
      expect(`${selector} ${countIn(page, selector)}`).toBe(`${selector} ${countIn(plain, selector)}`);
    for (const element of page.querySelectorAll('*'))
      for (const { name } of element.attributes) expect(name).not.toMatch(/^on|^srcdoc$/);
    expect(texts(page, 'h1')).toEqual([all.name.trim()]);
    expect(texts(page, '#limits tbody th')).toEqual(all.limits.map(({ limit }) => limit.trim()));
  });

  it('replaces characters that would hide or turn text around', async () => {
    const report = { ...runReportFixture({ steps: ['teacher'] }), name: 'a\u202eb\u0000c\u001b[2J' };
    const { text } = await pageOf(report);
    expect(text).toContain('a\u{fffd}b\u{fffd}c\u{fffd}[2J');
    expect([...text].some((character) => '\u202e\u0000\u001b'.includes(character))).toBe(false);
  });

  it('gives the same page for the same report', async () => {
    const report = runReportFixture({ seeds: 2 });
    expect(await htmlReport(report)).toBe(await htmlReport(report));
  });
});
