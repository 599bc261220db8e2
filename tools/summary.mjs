// The end of `.ci/run`: the tests that failed, once more, and a last line that counts tests and gates.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './lib/run.mjs';
import { testFailures, testTotals } from './lib/totals.mjs';

const results = path.join(root, '.cache', 'test-results');
const tests = testTotals(results);
for (const failure of testFailures(results)) process.stdout.write(`FAILED ${failure}\n`);
const file = path.join(root, '.cache', 'gates.json');
const gates = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 1 };
process.stdout.write(`${tests.passed + gates.passed} passed, ${tests.failed + gates.failed} failed\n`);
