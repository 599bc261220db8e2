// Everything that is checked beside the tests. Expects the build.
//   node tools/gates.mjs            runs all of them
//   node tools/gates.mjs lint knip  runs the named ones
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { installed, root, succeeds } from './lib/run.mjs';

const node = (script, ...args) => succeeds(process.execPath, [script, ...args]);
const tool = (script, ...args) => node(installed(script), ...args);

/** @type {Record<string, () => boolean>} */
const gates = {
  lint: () => tool('@biomejs/biome/bin/biome', 'ci', '.'),
  typecheck: () => tool('typescript/bin/tsc', '-p', 'tsconfig.check.json'),
  layers: () => node('tools/ts.mjs', 'tools/check-layers.ts'),
  source: () => node('tools/ts.mjs', 'tools/check-source.ts'),
  structure: () => node('tools/ts.mjs', 'tools/check-structure.ts'),
  errors: () => node('tools/ts.mjs', 'tools/errors-doc.ts', '--check'),
  examples: () => node('tools/ts.mjs', 'tools/doctest/main.ts'),
  commands: () => node('tools/ts.mjs', 'tools/check-commands.ts'),
  docs: () => tool('typedoc/bin/typedoc'),
  packages: () => node('tools/ts.mjs', 'tools/check-packages.ts'),
  changesets: () => node('tools/ts.mjs', 'tools/check-changesets.ts'),
  knip: () => tool('knip/bin/knip.js'),
};

const named = process.argv.slice(2);
const unknown = named.filter((name) => !(name in gates));
if (unknown.length > 0) {
  process.stderr.write(`No gate named ${unknown.join(', ')}; there are ${Object.keys(gates).join(', ')}.\n`);
  process.exit(2);
}

const failed = [];
const chosen = named.length > 0 ? named : Object.keys(gates);
for (const name of chosen) {
  process.stdout.write(`\nGate: ${name}\n`);
  if (!gates[name]()) failed.push(name);
}

mkdirSync(path.join(root, '.cache'), { recursive: true });
const totals = { passed: chosen.length - failed.length, failed: failed.length };
writeFileSync(path.join(root, '.cache', 'gates.json'), JSON.stringify(totals));
process.stdout.write(
  failed.length === 0
    ? `\nAll ${chosen.length} gates passed.\n`
    : `\nGates that failed: ${failed.join(', ')}\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
