// Leaves workers behind in several ways, to see whether the process ends, and how. Loads the sources through vite.
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const conditions = ['@lithe/source', 'module', 'node', 'development|production'];
const server = await createServer({
  root: fileURLToPath(new URL('..', import.meta.url)),
  configFile: false,
  logLevel: 'error',
  appType: 'custom',
  server: { middlewareMode: true, ws: false, hmr: false, watch: null },
  oxc: { target: 'node20' },
  optimizeDeps: { noDiscovery: true },
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions }, noExternal: [/^@lithe\//] },
});
const how = process.argv[2];
const { onnxruntimeNode, wasmTarget } = await server.ssrLoadModule('/src/index.ts');
const { slowModel } = await server.ssrLoadModule('/test/models.ts');
const { Tensor } = await server.ssrLoadModule('@lithe/core');

const options = { threads: 1, cancelGraceMilliseconds: 60_000 };
const backend = how.startsWith('browser') ? await wasmTarget(options).open() : await onnxruntimeNode(options);
const executable = await backend.compile(slowModel(384, 400));
// From here on only the workers could keep the process alive.
await server.close();

const feeds = { x: Tensor.from('float32', [384, 384], new Float32Array(384 * 384)) };
if (how === 'browser') await executable.run(feeds);
if (how === 'disposed' || how === 'browser') {
  await executable.dispose();
  await backend.dispose();
}
if (how === 'running' || how === 'exiting' || how === 'closing') {
  const controller = new AbortController();
  const run = executable.run(feeds, { signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 200));
  if (how === 'exiting') process.exit(7);
  // Nobody waits any more, but native code is still under way.
  controller.abort();
  await run.catch(() => undefined);
  if (how === 'closing') await backend.dispose();
}
process.stdout.write('left');
