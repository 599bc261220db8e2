import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

/** A source file: its path from the root of the repository, with `/`, and its text. */
export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

/** The folders under `packages/`, sorted. */
export function packageNames(): readonly string[] {
  return readdirSync(path.join(root, 'packages'))
    .filter((name) => existsSync(path.join(root, 'packages', name, 'package.json')))
    .sort();
}

/** Every file under a folder whose path the filter takes, sorted; dependencies and build output are left out. */
export function readFiles(folder: string, take: (file: string) => boolean): readonly SourceFile[] {
  const found: SourceFile[] = [];
  const visit = (relative: string): void => {
    for (const entry of readdirSync(path.join(root, relative), { withFileTypes: true })) {
      const inner = `${relative}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!['node_modules', 'dist', '.doctest', '.cache'].includes(entry.name)) visit(inner);
      } else if (take(inner)) {
        found.push({ file: inner, text: readFileSync(path.join(root, inner), 'utf8') });
      }
    }
  };
  if (existsSync(path.join(root, folder))) visit(folder);
  return found.sort((a, b) => (a.file < b.file ? -1 : 1));
}

/** Whether a path is a test, a fixture or another thing that is not shipped. */
export function isTest(file: string): boolean {
  return /\.(test|test-d|bench)\.ts$|\/(test|__fixtures__|__snapshots__)\//.test(file);
}

/** Prints what a check found and gives its exit code. */
export function conclude(check: string, problems: readonly string[]): number {
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.stdout.write(
    problems.length === 0 ? `${check}: nothing to report.\n` : `${check}: ${problems.length} problems.\n`,
  );
  return problems.length === 0 ? 0 : 1;
}
