// Runs a few steps of a training graph and prints the peak of this process's memory. Started by training-memory.ts; plain
// JavaScript, so that nothing but the runtime is in the process.
import { readFile } from 'node:fs/promises';

/** @import { MemoryRequest } from './training-memory.ts' */

const request = /** @type {MemoryRequest} */ (JSON.parse(await readFile(process.argv[2] ?? '', 'utf8')));
const { runtime, threads, steps } = request;
const ort = await import(runtime === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node');
if (runtime === 'wasm') ort.env.wasm.numThreads = threads;

const bytes = await readFile(request.feeds);
/** @type {Record<string, unknown>} */
const feeds = {};
let offset = 0;
for (const { name, dtype, shape } of request.inputs) {
  const size = shape.reduce((left, right) => left * right, 1);
  const values = dtype === 'int64' ? new BigInt64Array(size) : new Float32Array(size);
  new Uint8Array(values.buffer).set(bytes.subarray(offset, offset + values.byteLength));
  offset += values.byteLength;
  feeds[name] = new ort.Tensor(dtype, values, shape);
}
const beforeBytes = process.memoryUsage().rss;
const session = await ort.InferenceSession.create(
  runtime === 'wasm' ? await readFile(request.file) : request.file,
  {
    logSeverityLevel: 4,
    ...(runtime === 'wasm' ? {} : { intraOpNumThreads: threads }),
    // Without the arena, memory goes back when it is free, and the peak is that of the graph.
    ...(runtime === 'node' ? { enableCpuMemArena: false, enableMemPattern: false } : {}),
  },
);
const fetches = ['loss', ...request.state.map(({ output }) => output)];
let loss = Number.NaN;
let milliseconds = Number.POSITIVE_INFINITY;
for (let step = 0; step < steps; step++) {
  const start = performance.now();
  const results = await session.run(feeds, fetches);
  if (step > 0) milliseconds = Math.min(milliseconds, performance.now() - start);
  loss = results.loss.data[0];
  for (const { input, output } of request.state) feeds[input] = results[output];
}
const peakBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(JSON.stringify({ beforeBytes, peakBytes, milliseconds, loss }));
