/**
 * The worker thread in Node. Runs onnxruntime-node, or the WASM build of onnxruntime-web.
 *
 * @import { Runtime } from './engine.js'
 * @import { NodeWorkerData } from './protocol.ts'
 */
import { mkdtempSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { createEngine } from './engine.js';

const { module, flags } = /** @type {NodeWorkerData} */ (workerData);
const port = parentPort;
if (port === null) throw new Error('This file runs as a worker thread.');

// flags[0]: 1 while native code may run. flags[1]: what the main thread wants: 0 go on, 1 enter no more native code,
// 2 sleep, the process is ending. A thread that is stopped inside onnxruntime-node takes the whole process down with
// it (SIGABRT: an exception that its binding cannot hand to a dying isolate), so whoever stops this thread sets the
// second flag and waits for the first.
const busy = 0;
const wish = 1;

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function guard(work) {
  Atomics.store(flags, busy, 1);
  try {
    obey();
    return await work();
  } finally {
    idle();
    if (Atomics.load(flags, wish) === 2) obey();
  }
}

function idle() {
  Atomics.store(flags, busy, 0);
  Atomics.notify(flags, busy);
}

function obey() {
  const wanted = Atomics.load(flags, wish);
  if (wanted === 1) throw new Error('The worker is being stopped.');
  if (wanted === 2) {
    idle();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
}

let profileFolder = '';

port.on(
  'message',
  createEngine({
    async load() {
      const loaded = await import(module);
      return /** @type {Runtime} */ (loaded.InferenceSession === undefined ? loaded.default : loaded);
    },
    guard,
    startProfile(options) {
      profileFolder = mkdtempSync(path.join(tmpdir(), 'lithe-profile-'));
      return { ...options, enableProfiling: true, profileFilePrefix: path.join(profileFolder, 'profile') };
    },
    async endProfile(session) {
      session.endProfiling();
      try {
        // The binding drops the name that the runtime chose; the folder holds nothing else.
        const [file] = await readdir(profileFolder);
        if (file === undefined) throw new Error('The runtime wrote no profile.');
        return await readFile(path.join(profileFolder, file), 'utf8');
      } finally {
        await rm(profileFolder, { recursive: true, force: true });
      }
    },
    post(reply, transfer) {
      port.postMessage(reply, transfer);
    },
  }),
);
