import ts from 'typescript';
import type { Example } from './extract.ts';

/**
 * Turns an example into a module that asserts: a statement with `// => value` behind it becomes a check of its
 * value. Lines keep their numbers, so that a message can name the line where the example stands.
 *
 * - `expression; // => value`: the expression.
 * - `const name = expression; // => value`: the variable.
 * - `console.log(expression); // => value`: what is printed.
 */
export function moduleOf(example: Example): string {
  const source = ts.createSourceFile('example.ts', example.code, ts.ScriptTarget.ESNext, true);
  const edits: { readonly start: number; readonly end: number; readonly text: string }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isExpressionStatement(node) || ts.isVariableStatement(node)) {
      const expected = expectation(example.code, node.getEnd());
      if (expected !== undefined) {
        const { line } = source.getLineAndCharacterOfPosition(node.getEnd());
        const where = `${example.file}:${example.line + line}`;
        edits.push(assertion(source, node, expected, where));
        return;
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  let code = example.code;
  for (const edit of edits.reverse()) code = code.slice(0, edit.start) + edit.text + code.slice(edit.end);
  const promised = (example.code.match(/\/\/ =>/g) ?? []).length;
  if (promised !== edits.length) {
    throw new Error(
      `${example.file}:${example.line}: ${promised} "// =>" but ${edits.length} stand behind a statement on its line.`,
    );
  }
  return `${code}\nexport {};\n`;
}

/** The text after `// =>` on the line where a statement ends. */
function expectation(code: string, end: number): string | undefined {
  const rest = code.slice(end, code.indexOf('\n', end) < 0 ? code.length : code.indexOf('\n', end));
  return /^\s*\/\/ =>\s*(.*?)\s*$/.exec(rest)?.[1];
}

function assertion(
  source: ts.SourceFile,
  node: ts.ExpressionStatement | ts.VariableStatement,
  expected: string,
  where: string,
): { readonly start: number; readonly end: number; readonly text: string } {
  const check = (actual: string): string =>
    `(globalThis as unknown as { __expect(actual: unknown, expected: string, where: string): void }).__expect(${actual}, ${JSON.stringify(expected)}, ${JSON.stringify(where)});`;
  if (ts.isVariableStatement(node)) {
    const names = node.declarationList.declarations.map((one) => one.name.getText(source));
    return {
      start: node.getEnd(),
      end: node.getEnd(),
      text: ` ${check(names.length === 1 ? `${names[0]}` : `[${names}]`)}`,
    };
  }
  const { expression } = node;
  const printed =
    ts.isCallExpression(expression) && expression.expression.getText(source) === 'console.log'
      ? expression.arguments[0]
      : undefined;
  const actual = (printed ?? expression).getText(source);
  return { start: node.getStart(source), end: node.getEnd(), text: `;${check(actual)}` };
}
