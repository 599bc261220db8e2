import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { conclude, root } from './lib/sources.ts';

/** The pages whose commands must work when they are pasted into a shell, in the root of the repository. */
const pages = ['README.md', 'packages/cli/README.md'];

const timeLimitMilliseconds = 600_000;

/** A block of commands, as one would paste it. */
export interface CommandBlock {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** The fences of a page that are marked `sh`. */
export function commandBlocks(file: string, page: string): readonly CommandBlock[] {
  const blocks: CommandBlock[] = [];
  for (const match of page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)) {
    const line = page.slice(0, match.index).split('\n').length + 1;
    blocks.push({ file, line, text: match[1] ?? '' });
  }
  return blocks;
}

/** Runs every block in a shell of its own, in the root of the repository. */
export function main(): number {
  rmSync(path.join(root, '.out', 'app'), { recursive: true, force: true });
  const problems: string[] = [];
  for (const file of pages) {
    for (const block of commandBlocks(file, readFileSync(path.join(root, file), 'utf8'))) {
      process.stdout.write(`${block.file}:${block.line}: ${block.text.trim().split('\n').join(' ; ')}\n`);
      const result = spawnSync('bash', ['-euo', 'pipefail', '-c', block.text], {
        cwd: root,
        encoding: 'utf8',
        timeout: timeLimitMilliseconds,
      });
      if (result.status !== 0)
        problems.push(`${block.file}:${block.line}:\n${result.stdout}${result.stderr}`);
    }
  }
  return conclude('Commands of the READMEs', problems);
}
