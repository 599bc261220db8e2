// Plain Node without dependencies: this runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/**
 * Runs a program in the root of the repository, its output going to this process's own.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ env?: Record<string, string>, quiet?: boolean }} [options] quiet shows the output only of a failure
 * @returns {boolean} whether it ended with 0
 */
export function succeeds(program, args, options = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    stdio: options.quiet ? 'pipe' : 'inherit',
    env: { ...process.env, ...options.env },
    shell: process.platform === 'win32',
    maxBuffer: 1 << 28,
  });
  if (result.error) process.stderr.write(`${program}: ${result.error.message}\n`);
  if (options.quiet && result.status !== 0) {
    process.stdout.write(result.stdout ?? '');
    process.stderr.write(result.stderr ?? '');
  }
  return result.status === 0;
}

/** Like {@link succeeds}, but ends this process when the program fails. */
export function run(program, args, options = {}) {
  if (succeeds(program, args, options)) return;
  process.stderr.write(`\nFailed: ${[program, ...args].join(' ')}\n`);
  process.exit(1);
}

/** Arguments that run a script of an installed package with this Node. */
export function installed(script) {
  return path.join(root, 'node_modules', script);
}

/** Program and arguments of the package manager this repository names; npm fetches it where it is not installed. */
export function pnpm(...args) {
  return ['npx', ['--yes', manifest.packageManager, ...args]];
}
