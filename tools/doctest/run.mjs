// Runs the modules named in the list given as the first argument, one after the other, in a folder of their own,
// and writes what failed as JSON to the second.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expectValue } from './expect.mjs';

const [list, report] = process.argv.slice(2);
globalThis.__expect = expectValue;
const folder = path.dirname(list);
mkdirSync(path.join(folder, 'work'), { recursive: true });
process.chdir(mkdtempSync(path.join(folder, 'work', 'run-')));

const failures = [];
for (const { module, where } of JSON.parse(readFileSync(list, 'utf8'))) {
  try {
    await import(pathToFileURL(module).href);
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    failures.push(text.includes(where.split(':')[0]) ? text.split('\n')[0] : `${where}: ${text}`);
  }
}
writeFileSync(report, JSON.stringify(failures));
process.exit(0);
