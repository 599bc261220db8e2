import type { Browser, Page } from 'playwright-core';

/**
 * Opens a page and waits until it has loaded.
 *
 * Uncaught errors of the page are collected; {@link pageErrors} gives them, so that a test can show them instead of
 * running into its time limit.
 */
export async function openPage(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  const errors: string[] = [];
  errorsOf.set(page, errors);
  page.on('pageerror', (error) => errors.push(error.stack ?? error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(url, { waitUntil: 'load' });
  return page;
}

/** The uncaught errors and error messages of a page that {@link openPage} opened, oldest first. */
export function pageErrors(page: Page): readonly string[] {
  return errorsOf.get(page) ?? [];
}

const errorsOf = new WeakMap<Page, string[]>();
