import ts from 'typescript';
import { conclude, isTest, readFiles, type SourceFile } from './lib/sources.ts';

/** The most lines of code, blank lines and comments not counted, that a file may have. */
export const maxCodeLines = 400;

/** Files that are one long table or generated, and so may be longer. */
const tables: readonly RegExp[] = [
  /_pb\.ts$/,
  /\/errors\/catalogue(\/[\w-]+)?\.ts$/,
  /-table\.ts$/,
  /\/(op-specs|opcodes|schemas)\//,
];

/** Calls that make a run unrepeatable; the context has a seeded generator and a clock. */
const unrepeatable: Readonly<Record<string, string>> = {
  'Date.now': "the context's clock",
  'Math.random': "the context's rng",
};

/** House rules that the linter cannot express, for sources that ship; broken ones as sentences. */
export function sourceProblems(files: readonly SourceFile[]): readonly string[] {
  const problems: string[] = [];
  for (const { file, text } of files) {
    if (isTest(file)) continue;
    const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
    const report = (node: ts.Node, message: string): void => {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
      problems.push(`${file}:${line + 1}: ${message}`);
    };
    const elements = destructuredElements(source);
    const visit = (node: ts.Node): void => {
      if (ts.isNonNullExpression(node) && !isArrayElement(node.expression, elements)) {
        report(node, 'a non-null assertion is for array elements only; narrow the type, or use invariant().');
      }
      if (ts.isPropertyAccessExpression(node)) {
        const instead = unrepeatable[node.getText(source)];
        if (instead !== undefined) report(node, `${node.getText(source)} makes runs differ; use ${instead}.`);
      }
      if (ts.isNewExpression(node) && node.getText(source) === 'new Date()') {
        report(node, 'new Date() makes runs differ; take the time from the context.');
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
    const count = codeLines(source);
    if (count > maxCodeLines && !tables.some((pattern) => pattern.test(file))) {
      problems.push(`${file}: ${count} lines of code; ${maxCodeLines} is the limit, split it by concept.`);
    }
    for (const match of text.matchAll(/\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))/g)) {
      const { line } = source.getLineAndCharacterOfPosition(match.index);
      problems.push(`${file}:${line + 1}: ${match[1]} without an issue, as in TODO(#12).`);
    }
  }
  return problems;
}

/** Whether an expression reads an element of an array: `a[i]`, `a.at(-1)`, or a name that `[name] = a` gave. */
function isArrayElement(expression: ts.Expression, elements: ReadonlySet<string>): boolean {
  if (ts.isElementAccessExpression(expression)) return true;
  if (ts.isIdentifier(expression)) return elements.has(expression.text);
  return (
    ts.isCallExpression(expression) &&
    ts.isPropertyAccessExpression(expression.expression) &&
    expression.expression.name.text === 'at'
  );
}

/** Names in a file that array destructuring declares. */
function destructuredElements(source: ts.SourceFile): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isArrayBindingPattern(node)) {
      for (const element of node.elements) {
        if (ts.isBindingElement(element) && ts.isIdentifier(element.name)) names.add(element.name.text);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return names;
}

/** Lines that hold at least one token. */
function codeLines(source: ts.SourceFile): number {
  const lines = new Set<number>();
  const visit = (node: ts.Node): void => {
    if (node.getChildCount(source) === 0) {
      const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
      const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
      if (node.getEnd() > node.getStart(source)) for (let line = first; line <= last; line++) lines.add(line);
      return;
    }
    for (const child of node.getChildren(source)) if (!ts.isJSDoc(child)) visit(child);
  };
  visit(source);
  return lines.size;
}

/** Checks the sources of all packages. */
export function main(): number {
  const files = readFiles('packages', (file) => /^packages\/[\w-]+\/src\/.*\.ts$/.test(file));
  return conclude('House rules', sourceProblems(files));
}
