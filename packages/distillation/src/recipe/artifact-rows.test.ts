import { type ArtifactStore, errors } from '@lithe/core';
import { memoryCheckpoints } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { artifactRows, rowRoom } from './artifact-rows.ts';

const all = Uint8Array.of(1, 2, 3, 4, 5, 6);

/** A store that counts what is written to it. */
function counting(): ArtifactStore & { readonly writes: () => number } {
  const inner = memoryCheckpoints();
  let count = 0;
  return {
    read: (signal) => inner.read(signal),
    write: (bytes) => {
      count++;
      return inner.write(bytes);
    },
    writes: () => count,
  };
}

describe('rows in a store of a context', () => {
  it('are there again for the next run, complete or not', async () => {
    const store = counting();
    const first = await artifactRows(store, 3);
    await first.reset('teacher', 2);
    await first.append(all.subarray(0, 2));
    const second = await artifactRows(store, 3);
    expect([await second.identity(), await second.rows()]).toEqual(['teacher', 1]);
    await second.append(all.subarray(2));
    const third = await artifactRows(store, 3);
    expect(await third.rows()).toBe(3);
    expect(await third.read(Uint32Array.of(2, 0))).toEqual(Uint8Array.of(5, 6, 1, 2));
  });

  it('are written a few times, not with each batch', async () => {
    const store = counting();
    const rows = await artifactRows(store, 1000);
    await rows.reset('teacher', 1);
    for (let batch = 0; batch < 100; batch++) await rows.append(new Uint8Array(10));
    expect(await rows.rows()).toBe(1000);
    // By a quarter more each time, 100 batches are there after log(100) / log(1.25) = 21 writings.
    expect(store.writes()).toBeLessThan(23);
    expect(await (await artifactRows(store, 1000)).rows()).toBe(1000);
  });

  it('are dropped where the file is damaged, but not where it could not be read', async () => {
    const damaged = memoryCheckpoints();
    await damaged.write(Uint8Array.of(1, 2, 3));
    expect(await (await artifactRows(damaged, 3)).identity()).toBeUndefined();
    const failure = errors.fileNotFound('rows', 'it is locked.');
    const locked: ArtifactStore = { ...damaged, read: () => Promise.reject(failure) };
    await expect(artifactRows(locked, 3)).rejects.toBe(failure);
  });

  it('are refused before any is there when all of them would be too many', async () => {
    const rows = await artifactRows(undefined, 60_000);
    await expect(rows.reset('teacher', 64 * 28 * 28 * 4)).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      hint: expect.stringContaining('record: false'),
    });
    await rows.reset('teacher', 40);
    await rows.append(new Uint8Array(40));
    expect(await rows.rows()).toBe(1);
  });

  it('share the room of a pass, and give it back when they begin anew', async () => {
    const room = rowRoom();
    const [first, second] = [
      await artifactRows(undefined, 1000, room),
      await artifactRows(undefined, 1000, room),
    ];
    const most = 2 ** 31 / 1000;
    await first.reset('teacher', Math.floor(most * 0.6));
    await expect(second.reset('teacher', Math.floor(most * 0.6))).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    await second.reset('teacher', Math.floor(most * 0.3));
    await first.reset('another', Math.floor(most * 0.65));
  });
});
