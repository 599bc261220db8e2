import { htmlReport } from '@lithe/cli';
import { launchChromium } from '@lithe-internal/browser';
import axe from 'axe-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runReportFixture } from './run-report-fixture.ts';

type Browser = Awaited<ReturnType<typeof launchChromium>>;
type Page = Awaited<ReturnType<Browser['newPage']>>;

const desktop = { viewport: { width: 1280, height: 900 } } as const;

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

describe('the HTML report in a browser', () => {
  let browser: Browser;
  let text: string;

  beforeAll(async () => {
    browser = await launchChromium();
    text = await htmlReport(runReportFixture({ seeds: 2, failed: 'int8-after' }));
  });
  afterAll(() => browser?.close());

  async function open(options: Parameters<Browser['newPage']>[0] = {}): Promise<{
    readonly page: Page;
    readonly requests: readonly string[];
    readonly messages: readonly string[];
  }> {
    const page = await browser.newPage(options);
    const requests: string[] = [];
    const messages: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => messages.push(message.text()));
    page.on('pageerror', (error) => messages.push(error.message));
    // A document without an address: whatever it asks for shows as a request.
    await page.setContent(text, { waitUntil: 'load' });
    return { page, requests, messages };
  }

  it('loads without a request and without a message', async () => {
    const { page, requests, messages } = await open();
    await page.evaluate('new Promise(requestAnimationFrame)');
    expect({ requests, messages }).toEqual({ requests: [], messages: [] });
    await page.close();
  });

  it.each([
    ['desktop', { width: 1280, height: 900 }],
    ['phone', { width: 360, height: 740 }],
  ] as const)('fits the width of a %s', async (_, viewport) => {
    const { page } = await open({ viewport });
    const width = await page.evaluate<number>('document.documentElement.scrollWidth');
    expect(width).toBeLessThanOrEqual(viewport.width);
    await page.close();
  });

  it('keeps the words of every plot inside it', async () => {
    const { page } = await open(desktop);
    const outside = await page.evaluate<readonly string[]>(`
      for (const part of document.querySelectorAll('details')) part.open = true;
      [...document.querySelectorAll('svg[role=img]')].flatMap((drawing) => {
        const frame = drawing.getBoundingClientRect();
        return [...drawing.querySelectorAll('text')].filter((word) => {
          const box = word.getBoundingClientRect();
          return box.width > 0 && (box.left < frame.left - 2 || box.right > frame.right + 2);
        }).map((word) => word.textContent);
      })`);
    expect(outside).toEqual([]);
    await page.close();
  });

  it('writes names beside points without covering one with another', async () => {
    const { page } = await open(desktop);
    const covered = await page.evaluate(`
      [...document.querySelectorAll('.trade-off svg')].map((drawing) => {
        const names = [...drawing.querySelectorAll('g.text:last-of-type text')].map((name) => name.getBoundingClientRect());
        let pairs = 0;
        for (const [index, one] of names.entries())
          for (const other of names.slice(index + 1)) {
            const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
            const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
            if (width > 3 && height > 5) pairs++;
          }
        return { names: names.length, pairs };
      })`);
    // The original and seven steps that did not fail, in each of three plots.
    expect(covered).toEqual(new Array(3).fill({ names: 8, pairs: 0 }));
    await page.close();
  });

  it.each(['light', 'dark'] as const)(
    'keeps the rules of accessible pages that a program can check, %s',
    async (colorScheme) => {
      const { page } = await open({ ...desktop, colorScheme, bypassCSP: true });
      await page.evaluate(`for (const part of document.querySelectorAll('details')) part.open = true`);
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate<AxeResult>('axe.run()');
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
      expect(found).toEqual([]);
      await page.close();
    },
  );

  it('opens everything for paper, and folds it again', async () => {
    const { page } = await open();
    const opened = () => page.evaluate<number>(`document.querySelectorAll('details[open]').length`);
    const all = await page.evaluate<number>(`document.querySelectorAll('details').length`);
    const before = await opened();
    await page.evaluate(`dispatchEvent(new Event('beforeprint'))`);
    expect(await opened()).toBe(all);
    await page.evaluate(`dispatchEvent(new Event('afterprint'))`);
    expect(await opened()).toBe(before);
    await page.close();
  });

  it('leaves links and wide tables to the keyboard', async () => {
    const { page } = await open({ viewport: { width: 360, height: 740 } });
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the report');
    const stops = await page.evaluate<readonly string[]>(
      `[...document.querySelectorAll('.scroll')].map((part) => part.getAttribute('tabindex'))`,
    );
    expect(new Set(stops)).toEqual(new Set(['0']));
    await page.close();
  });
});
