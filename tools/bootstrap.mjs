// Installs the dependencies and builds the packages, with nothing but Node and npm on the machine.
import { installed, pnpm, run } from './lib/run.mjs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`Lithe needs Node 20.19 or later; this is ${process.versions.node}.\n`);
  process.exit(1);
}

process.stdout.write('Installing dependencies …\n');
// Install scripts stay off (pnpm-workspace.yaml). CI=true: no questions, no progress drawing.
run(...pnpm('install', '--frozen-lockfile', '--reporter=append-only'), { env: { CI: 'true' }, quiet: true });

process.stdout.write('Building the packages …\n');
run(process.execPath, [installed('typescript/bin/tsc'), '-b']);
