// `npm test`: installs, builds, and runs every test, those in Node first, then those in a browser.
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import './bootstrap.mjs';
import { installed, root, succeeds } from './lib/run.mjs';
import { testTotals } from './lib/totals.mjs';

const results = path.join(root, '.cache', 'test-results');
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

const oneFailure = {
  numPassedTests: 0,
  numFailedTests: 1,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [],
};

let ok = true;
for (const project of ['node', 'browser', 'packed']) {
  process.stdout.write(`\nTests: ${project}\n`);
  const report = path.join(results, `${project}.json`);
  // CI=true: a snapshot that is missing fails, and is not written.
  const passed = succeeds(
    process.execPath,
    [
      installed('vitest/vitest.mjs'),
      'run',
      `--project=${project}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { env: { CI: 'true' } },
  );
  // A runner that fails without naming a test (an unhandled rejection, a crash) still counts as a failure.
  if (!passed && (!existsSync(report) || testTotals(results).failed === 0)) {
    writeFileSync(path.join(results, `${project}-crashed.json`), JSON.stringify(oneFailure));
  }
  ok = passed && ok;
}

const { passed, failed, skipped } = testTotals(results);
process.stdout.write(`\nTests: ${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = ok && failed === 0 ? 0 : 1;
