import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Adds up the JSON reports of the test runner in a folder. A file that failed to load counts as one failed test.
 * @param {string} folder
 * @returns {{ passed: number, failed: number, skipped: number }}
 */
export function testTotals(folder) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  if (!existsSync(folder)) return totals;
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.json')) continue;
    const report = JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
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
