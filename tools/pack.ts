import path from 'node:path';
import { packAll } from './lib/pack.ts';
import { root } from './lib/sources.ts';

/** Packs every package into `.out/tarballs`, as it would be published. Expects the build. */
export function main(): number {
  for (const tarball of Object.values(packAll(path.join(root, '.out', 'tarballs')))) {
    process.stdout.write(`${path.relative(root, tarball)}\n`);
  }
  return 0;
}
