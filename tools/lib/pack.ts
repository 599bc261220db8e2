import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { packageNames, root } from './sources.ts';

/**
 * Packs every package as it would be published.
 *
 * @param destination - a folder for the tarballs; emptied first.
 * @returns the tarball of each package, by its folder's name.
 */
export function packAll(destination: string): Readonly<Record<string, string>> {
  rmSync(destination, { recursive: true, force: true });
  mkdirSync(destination, { recursive: true });
  const { packageManager } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  // pnpm replaces `workspace:` and `catalog:` by real ranges; npm would not.
  const packed = spawnSync(
    'npx',
    [
      '--yes',
      packageManager,
      '--recursive',
      '--filter=./packages/*',
      'pack',
      '--pack-destination',
      destination,
    ],
    { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' },
  );
  if (packed.status !== 0) throw new Error(`Packing failed.\n${packed.stdout}${packed.stderr}`);
  const files = readdirSync(destination);
  const tarballs: Record<string, string> = {};
  for (const name of packageNames()) {
    const file = files.find((one) => new RegExp(`^lithe-${name}-\\d.*\\.tgz$`).test(one));
    if (file === undefined) throw new Error(`No tarball of ${name} among ${files.join(', ')}.`);
    tarballs[name] = path.join(destination, file);
  }
  return tarballs;
}
