import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createRng, isLitheError, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { reluModel, slowModel } from '../test/models.ts';
import { onnxruntime, onnxruntimeNode, onnxruntimeWeb } from './index.ts';
import { openBest, openNode, openWeb } from './node/platform.ts';

const square = (size: number): Tensor => {
  const rng = createRng(1);
  const data = new Float32Array(size * size);
  for (let index = 0; index < data.length; index++) data[index] = rng.normal();
  return Tensor.from('float32', [size, size], data);
};

const relu = { x: Tensor.from('float32', [1, 3], new Float32Array([-1, 0, 2])) };

/** A module that stands in for the runtime: models are sentences that say what `run` does. */
const fakeRuntime = `data:text/javascript,${encodeURIComponent(`
  export const env = { versions: { common: '0' } };
  export class Tensor {}
  export class InferenceSession {
    static create() { return Promise.resolve(new InferenceSession()); }
    inputMetadata = [];
    outputMetadata = [];
    run() { setImmediate(() => { throw new Error('planted'); }); return new Promise(() => {}); }
    release() {}
  }
`)}`;

describe('a worker', () => {
  it('leaves the event loop alone while a model runs', async () => {
    await using backend = await onnxruntimeNode({ threads: 1 });
    await using executable = await backend.compile(slowModel(384, 200));
    const feeds = { x: square(384) };
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await executable.run(feeds);
    clearInterval(timer);
    // A blocked loop has none. A free one has a hundred, or, on a machine that is very busy, a few.
    expect(ticks).toBeGreaterThan(5);
  });

  it.each([onnxruntimeNode, onnxruntimeWeb])(
    'lets go of a run that is cancelled, at once: %o',
    async (open) => {
      await using backend = await open({ threads: 1, cancelGraceMilliseconds: 50 });
      const slow = await backend.compile(slowModel());
      await using other = await backend.compile(reluModel());
      const controller = new AbortController();
      const run = slow.run({ x: square(512) }, { signal: controller.signal });
      const timer = setTimeout(() => controller.abort(new Error('enough')), 100);
      await expect(run).rejects.toThrow('enough');
      clearTimeout(timer);
      // The other executable has a worker of its own.
      expect((await other.run(relu))['y']?.data).toEqual(new Float32Array([0, 0, 2]));
      await new Promise((resolve) => setTimeout(resolve, 150));
      await expect(slow.run({ x: square(512) })).rejects.toSatisfy(
        (error) => isLitheError(error, 'BACKEND_FAILED') && /given up/.test(error.message),
      );
      await slow.dispose();
    },
  );

  it('goes on with an executable whose cancelled run ended in time', async () => {
    await using backend = await onnxruntimeNode({ threads: 1 });
    await using executable = await backend.compile(reluModel());
    const controller = new AbortController();
    const run = executable.run(relu, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    expect((await executable.run(relu))['y']?.data).toEqual(new Float32Array([0, 0, 2]));
  });

  it('stops timing between two runs', async () => {
    await using backend = await onnxruntimeNode({ threads: 1, cancelGraceMilliseconds: 20_000 });
    await using executable = await backend.compile(slowModel(256, 20));
    const controller = new AbortController();
    const timing = executable.time({ x: square(256) }, { runs: 100_000, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 100);
    await expect(timing).rejects.toThrow('enough');
    // It would not answer, had it not left the loop.
    expect(await executable.time({ x: square(256) }, { runs: 1 })).toHaveLength(1);
  });

  it('cancels a compilation', async () => {
    await using backend = await onnxruntimeNode();
    await expect(
      backend.compile(reluModel(), { signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough');
    expect(backend.stats().executables).toBe(0);
  });

  it('that crashes fails what waits for it, and nothing else', async () => {
    const backend = await openNode({}, fakeRuntime);
    const executable = await backend.compile({ kind: 'onnx', file: new Uint8Array(1) });
    await expect(executable.run({})).rejects.toSatisfy(
      (error) => isLitheError(error, 'BACKEND_FAILED') && /crashed: planted/.test(error.message),
    );
    await expect(executable.run({})).rejects.toSatisfy((error) => isLitheError(error, 'BACKEND_FAILED'));
    const next = await backend.compile({ kind: 'onnx', file: new Uint8Array(1) });
    expect(next.inputNames).toEqual([]);
    await backend.dispose();
    expect(backend.stats()).toEqual({ executables: 0, liveTensors: 0, liveBytes: 0 });
  });

  it.each([
    ['onnxruntime-node', openNode],
    ['onnxruntime-web', openWeb],
  ] as const)('names the line that installs %s', async (name, open) => {
    await expect(open({}, 'onnxruntime-that-nobody-installed')).rejects.toSatisfy(
      (error) =>
        isLitheError(error, 'BACKEND_UNAVAILABLE') && error.hint?.includes(`npm install ${name}`) === true,
    );
  });
});

describe('onnxruntime', () => {
  it('takes onnxruntime-node where it is installed', async () => {
    await using backend = await onnxruntime();
    expect(backend.name).toBe('onnxruntime-node');
  });

  it('falls back to onnxruntime-web', async () => {
    await using backend = await openBest(
      { executionProviders: ['cpu'] },
      'onnxruntime-that-nobody-installed',
    );
    expect(backend.name).toBe('onnxruntime-web');
    await using executable = await backend.compile(reluModel());
    expect((await executable.run(relu))['y']?.data).toEqual(new Float32Array([0, 0, 2]));
  });
});

describe('the process', () => {
  const script = fileURLToPath(new URL('../test/leave.mjs', import.meta.url));
  const leave = async (how: string): Promise<{ code: number; stdout: string; stderr: string }> =>
    promisify(execFile)(process.execPath, [script, how], { timeout: 60_000 }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
        code,
        stdout,
        stderr,
      }),
    );

  it.each(['idle', 'disposed', 'running', 'closing'])(
    'ends by itself with a worker that is %s',
    async (how) => {
      expect(await leave(how)).toEqual({ code: 0, stdout: 'left', stderr: '' });
    },
  );

  it('keeps its exit code when it is ended during a run', async () => {
    expect(await leave('exiting')).toEqual({ code: 7, stdout: '', stderr: '' });
  });
});
