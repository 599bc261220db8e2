// The last line of `.ci/run`: the tests and the gates that passed and failed.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './lib/run.mjs';
import { testTotals } from './lib/totals.mjs';

const tests = testTotals(path.join(root, '.cache', 'test-results'));
const file = path.join(root, '.cache', 'gates.json');
const gates = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 1 };
process.stdout.write(`${tests.passed + gates.passed} passed, ${tests.failed + gates.failed} failed\n`);
