// Runs a tool written in TypeScript: node tools/ts.mjs FILE [ARGUMENT …]
// The file exports `main(args)`, which returns (a promise of) the exit code. Packages resolve to their sources.
import path from 'node:path';
import { createServer } from 'vite';

const [file, ...args] = process.argv.slice(2);
const conditions = ['@lithe/source', 'module', 'node', 'development|production'];
const server = await createServer({
  configFile: false,
  logLevel: 'error',
  appType: 'custom',
  server: { middlewareMode: true, ws: false, hmr: false, watch: null },
  // Node 20 does not know `using`.
  oxc: { target: 'node20' },
  optimizeDeps: { noDiscovery: true },
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions }, noExternal: [/^@lithe/] },
});
try {
  const module = await server.ssrLoadModule(path.resolve(file));
  process.exitCode = await module.main(args);
} finally {
  // Not before: modules may be imported while `main` runs.
  await server.close();
}
