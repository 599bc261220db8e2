import ts from 'typescript';
import type { SourceFile } from '../lib/sources.ts';

/** How far an example is checked: run after the typecheck, or typechecked only (it needs a browser, a file, …). */
export type ExampleMode = 'run' | 'no-run';

/** An example found in a comment or a page. */
export interface Example {
  /** Where it stands, from the root of the repository. */
  readonly file: string;
  /** Line of its first line of code there, from 1. */
  readonly line: number;
  readonly code: string;
  readonly mode: ExampleMode;
}

/**
 * The examples of a Markdown page: its fences marked `ts` (checked and run) and `ts no-run` (checked).
 * A fence marked `ts sketch` shows a shape and is left alone.
 */
export function examplesOfMarkdown({ file, text }: SourceFile, firstLine = 1): readonly Example[] {
  const examples: Example[] = [];
  const lines = text.split('\n');
  for (let index = 0; index < lines.length; index++) {
    const open = /^(\s*)(`{3,})(\w*)[ \t]*(.*)$/.exec(lines[index] ?? '');
    if (open === null) continue;
    const [, indent = '', ticks = '', language, mark = ''] = open;
    const start = index + 1;
    while (++index < lines.length && lines[index]?.trim() !== ticks);
    if (language !== 'ts' && language !== 'typescript') continue;
    if (mark !== '' && mark !== 'no-run' && mark !== 'sketch') {
      throw new Error(
        `${file}:${firstLine + start - 1}: a fence may be marked no-run or sketch, not "${mark}".`,
      );
    }
    if (mark === 'sketch') continue;
    const code = lines
      .slice(start, index)
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line));
    examples.push({
      file,
      line: firstLine + start,
      code: code.join('\n'),
      mode: mark === '' ? 'run' : 'no-run',
    });
  }
  return examples;
}

/** The examples of a source: the fences in its documentation comments. */
export function examplesOfSource({ file, text }: SourceFile): readonly Example[] {
  if (!text.includes('```ts')) return [];
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
  const examples: Example[] = [];
  const seen = new Set<number>();
  const visit = (node: ts.Node): void => {
    for (const comment of ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)) {
      if (seen.has(comment.pos)) continue;
      seen.add(comment.pos);
      const body = comment
        .getText(source)
        .slice(3, -2)
        .split('\n')
        .map((one) => one.replace(/^\s*\* ?/, ''))
        .join('\n');
      const { line } = source.getLineAndCharacterOfPosition(comment.pos);
      examples.push(...examplesOfMarkdown({ file, text: body }, line + 1));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return examples;
}
