import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './run.mjs';

/** @returns {object[]} The JSON reports of the test runner in a folder. */
function reports(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8')));
}

/**
 * Adds up the JSON reports of the test runner in a folder. A file that failed to load counts as one failed test.
 * @param {string} folder
 * @returns {{ passed: number, failed: number, skipped: number }}
 */
export function testTotals(folder) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  for (const report of reports(folder)) {
    totals.passed += report.numPassedTests;
    totals.failed += report.numFailedTests;
    totals.skipped += report.numPendingTests + report.numTodoTests;
    for (const file of report.testResults) {
      if (file.status === 'failed' && !file.assertionResults.some((one) => one.status === 'failed')) {
        totals.failed += 1;
      }
    }
  }
  return totals;
}

/**
 * What failed, to be read at the end of a long output: one entry per test, with the first lines of its message.
 * @param {string} folder
 * @returns {string[]}
 */
export function testFailures(folder) {
  const said = (message) =>
    (message ?? '')
      .split('\n')
      .filter((line) => !line.includes('node_modules'))
      .slice(0, 12)
      .map((line) => `    ${line}`)
      .join('\n');
  return reports(folder).flatMap((report) =>
    report.testResults.flatMap((file) => {
      const name = path.relative(root, file.name);
      const failed = file.assertionResults.filter((one) => one.status === 'failed');
      if (failed.length === 0) return file.status === 'failed' ? [`${name}\n${said(file.message)}`] : [];
      return failed.map((one) => `${name} > ${one.fullName}\n${one.failureMessages.map(said).join('\n')}`);
    }),
  );
}
