import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { conclude, isTest, readFiles, root } from './lib/sources.ts';

const catalogueFile = 'packages/core/src/errors/catalogue.ts';
const codesFile = 'packages/core/src/errors/lithe-error.ts';
const pageFile = 'docs/errors.md';

/** One factory of the catalogue. */
export interface CatalogueEntry {
  readonly factory: string;
  readonly code: string;
  readonly summary: string;
  /** The message, with `{name}` where a value goes. */
  readonly message: string;
  readonly hint: string | undefined;
}

/** The factories of the `errors` object in a catalogue's source text. */
export function readCatalogue(text: string): readonly CatalogueEntry[] {
  const source = ts.createSourceFile('catalogue.ts', text, ts.ScriptTarget.ESNext, true);
  const entries: CatalogueEntry[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node) && ts.isArrowFunction(node.initializer)) {
      const made = find(node.initializer.body, ts.isNewExpression);
      const [code, message, options] = made?.arguments ?? [];
      if (made?.expression.getText(source) === 'LitheError' && code && ts.isStringLiteral(code) && message) {
        const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
        entries.push({
          factory: node.name.getText(source),
          code: code.text,
          summary: comments
            .map((comment) => ts.getTextOfJSDocComment(comment.comment) ?? '')
            .join(' ')
            .replace(/\s+/g, ' '),
          message: template(message),
          hint: hintOf(options),
        });
        return;
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return entries;
}

function hintOf(options: ts.Expression | undefined): string | undefined {
  if (options === undefined || !ts.isObjectLiteralExpression(options)) return undefined;
  for (const property of options.properties) {
    if (property.name?.getText() !== 'hint') continue;
    if (!ts.isPropertyAssignment(property)) return 'Depends on the case.';
    const text = template(property.initializer);
    return /^\{\w+\}$/.test(text) ? 'Depends on the case.' : text;
  }
  return undefined;
}

/** A string or template as text, each hole as the first name in it. */
function template(expression: ts.Expression): string {
  if (ts.isStringLiteralLike(expression)) return expression.text;
  if (ts.isTemplateExpression(expression)) {
    return (
      expression.head.text +
      expression.templateSpans.map((span) => hole(span.expression) + span.literal.text).join('')
    );
  }
  if (ts.isBinaryExpression(expression) && expression.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    return template(expression.left) + template(expression.right);
  }
  return hole(expression);
}

/** The first name of an expression that is a value, not a function that formats it or a condition's test. */
function hole(expression: ts.Expression): string {
  if (ts.isConditionalExpression(expression)) {
    const branches = [expression.whenTrue, expression.whenFalse].map(template);
    return branches.includes('') ? '' : (branches[0] ?? '');
  }
  if (ts.isCallExpression(expression)) {
    const [first] = expression.arguments;
    const method = ts.isPropertyAccessExpression(expression.expression);
    if (method && ts.isPropertyAccessExpression(expression.expression)) {
      return hole(expression.expression.expression);
    }
    return first === undefined ? '{value}' : hole(first);
  }
  const name = find(expression, ts.isIdentifier);
  return `{${name?.text ?? 'value'}}`;
}

function find<T extends ts.Node>(node: ts.Node, is: (node: ts.Node) => node is T): T | undefined {
  return is(node) ? node : ts.forEachChild(node, (child) => find(child, is));
}

/** The codes of the `ErrorCode` union. */
export function readCodes(text: string): readonly string[] {
  const source = ts.createSourceFile('codes.ts', text, ts.ScriptTarget.ESNext, true);
  const alias = source.statements.find(
    (one) => ts.isTypeAliasDeclaration(one) && one.name.text === 'ErrorCode',
  );
  if (alias === undefined || !ts.isTypeAliasDeclaration(alias) || !ts.isUnionTypeNode(alias.type)) return [];
  return alias.type.types.flatMap((type) =>
    ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal) ? [type.literal.text] : [],
  );
}

/** The page `docs/errors.md`. */
export function renderPage(entries: readonly CatalogueEntry[]): string {
  const codes = [...new Set(entries.map((entry) => entry.code))].sort();
  const sections = codes.map((code) => {
    const parts = entries
      .filter((entry) => entry.code === code)
      .map(({ summary, message, hint }) => {
        const lines = [summary, '', `> ${message.replaceAll('\n', ' ').trim()}`];
        if (hint !== undefined) lines.push('', `What to do: ${hint}`);
        return lines.join('\n');
      });
    return `## ${code}\n\n${parts.join('\n\n')}\n`;
  });
  return `# Errors

Every failure that Lithe reports is a \`LitheError\` with a permanent \`code\`, a message, often a \`hint\` that says what to
do, \`details\` for programs, and the standard \`cause\`. Test for one with \`isLitheError(error, 'FILE_INVALID')\`, which also
works across two installed copies of \`@lithe/core\`. An aborted run rejects with the signal's own reason instead.

\`{name}\` stands for a value. This page is made from the catalogue in [${catalogueFile}](../${catalogueFile}) by
\`npm run errors-doc\`.

${sections.join('\n')}`;
}

/** Writes `docs/errors.md`; with `--check` only says whether it is current, and whether every code is used and tested. */
export function main(args: readonly string[]): number {
  const entries = readCatalogue(readFileSync(path.join(root, catalogueFile), 'utf8'));
  const page = renderPage(entries);
  const file = path.join(root, pageFile);
  if (!args.includes('--check')) {
    writeFileSync(file, page);
    return 0;
  }
  const problems: string[] = [];
  if (!existsSync(file) || readFileSync(file, 'utf8') !== page) {
    problems.push(`${pageFile} is not current: npm run errors-doc`);
  }
  const codes = readCodes(readFileSync(path.join(root, codesFile), 'utf8'));
  const sources = readFiles('packages', (name) => /^packages\/[\w-]+\/(src|test)\/.*\.ts$/.test(name));
  const tests = sources
    .filter(({ file: name }) => isTest(name))
    .map(({ text }) => text)
    .join('\n');
  const shipped = sources
    .filter(({ file: name }) => !isTest(name) && name !== catalogueFile)
    .map(({ text }) => text)
    .join('\n');
  for (const code of codes) {
    if (!entries.some((entry) => entry.code === code))
      problems.push(`${code}: no factory in the catalogue makes it.`);
    if (!new RegExp(`['"\`]${code}['"\`]`).test(tests)) problems.push(`${code}: no test expects it.`);
  }
  for (const { factory, summary } of entries) {
    if (summary === '') problems.push(`errors.${factory} has no comment.`);
    if (!shipped.includes(`errors.${factory}(`) && factory !== 'internal')
      problems.push(`errors.${factory} is never used.`);
  }
  return conclude('Error catalogue', problems);
}
