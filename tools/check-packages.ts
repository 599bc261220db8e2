import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { packAll } from './lib/pack.ts';
import { conclude, root } from './lib/sources.ts';

/** Packs every package and lets publint and arethetypeswrong look at the tarballs. */
export function main(): number {
  const problems: string[] = [];
  const tarballs = packAll(path.join(root, '.cache', 'tarballs'));
  const publint = path.join(root, 'node_modules/publint/src/cli.js');
  const attw = path.join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  for (const [name, tarball] of Object.entries(tarballs)) {
    const checks = [
      [publint, 'run', tarball, '--strict'],
      [attw, tarball, '--profile', 'esm-only', '--no-color', '--format', 'ascii'],
    ];
    for (const [script = '', ...args] of checks) {
      const result = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
      if (result.status !== 0) problems.push(`@lithe/${name}:\n${result.stdout}${result.stderr}`);
    }
  }
  return conclude('Packages', problems);
}
