// Runs a tool written in TypeScript: node tools/ts.mjs FILE [ARGUMENT …]
// The file exports `main(args)`, which returns (a promise of) the exit code. Packages resolve to their sources.
import path from 'node:path';
import { runnerImport } from 'vite';

const [file, ...args] = process.argv.slice(2);
const conditions = ['@lithe/source', 'module', 'node', 'development|production'];
const { module } = await runnerImport(path.resolve(file), {
  configFile: false,
  logLevel: 'error',
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
});
process.exitCode = await module.main(args);
