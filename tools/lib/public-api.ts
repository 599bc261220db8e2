import { readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { root } from './sources.ts';

/**
 * What each entry point of some packages exports, as text: the declaration of every name without its comments.
 * Made from the sources, file by file, so that it does not depend on the order in which anything is checked.
 *
 * @param names - folders under `packages/`.
 * @returns the text of each package.
 */
export function publicApi(names: readonly string[]): ReadonlyMap<string, string> {
  const config = ts.getParsedCommandLineOfConfigFile(
    path.join(root, 'tsconfig.check.json'),
    { incremental: false },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined },
  );
  if (config === undefined) throw new Error('tsconfig.check.json cannot be read.');
  const { tsBuildInfoFile: _, ...options } = config.options;
  const entries = names.map((name) => ({ name, points: entryPoints(name) }));
  const program = ts.createProgram(
    entries.flatMap(({ points }) => points.map(({ file }) => file)),
    options,
  );
  const checker = program.getTypeChecker();
  return new Map(
    entries.map(({ name, points }) => [
      name,
      `${points.map(({ specifier, file }) => describeEntry(specifier, file, program, checker)).join('\n\n')}\n`,
    ]),
  );
}

function entryPoints(name: string): readonly { readonly specifier: string; readonly file: string }[] {
  const folder = path.join(root, 'packages', name);
  const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, unknown>>;
  };
  const points: { specifier: string; file: string }[] = [];
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    const sources = new Set(JSON.stringify(target).match(/\.\/src\/[^"]+\.ts/g) ?? []);
    for (const source of sources) {
      const suffix = sources.size > 1 ? ` (${source})` : '';
      points.push({
        specifier: `@lithe/${name}${subpath.slice(1)}${suffix}`,
        file: path.join(folder, source),
      });
    }
  }
  return points;
}

function describeEntry(
  specifier: string,
  file: string,
  program: ts.Program,
  checker: ts.TypeChecker,
): string {
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  const symbols = module === undefined ? [] : checker.getExportsOfModule(module);
  const lines = symbols
    .map((symbol) => ({ name: symbol.name, text: describeSymbol(symbol, checker) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ text }) => text);
  return [`# ${specifier}`, '', ...lines].join('\n');
}

/** A longer one is a table, of which only the keys are shown. */
const longestType = 400;

function describeSymbol(exported: ts.Symbol, checker: ts.TypeChecker): string {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const texts = new Set<string>();
  for (const declaration of symbol.declarations ?? []) {
    for (const text of declarationsOf(declaration.getSourceFile()).get(symbol.name) ?? []) texts.add(text);
  }
  const renamed = exported.name === symbol.name ? '' : `${exported.name} = `;
  const shown = [...texts].map((text) => {
    if (text.length <= longestType || !/^(declare )?const /.test(text)) return text;
    const keys = checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol)).map((one) => one.name);
    return `const ${symbol.name}: { ${keys.join(', ')} };`;
  });
  return shown.map((text) => renamed + text).join('\n') || `${exported.name}: a name of another module`;
}

const known = new Map<ts.SourceFile, ReadonlyMap<string, readonly string[]>>();

/** The declarations of a file by name, as its declaration file has them, without comments. */
function declarationsOf(source: ts.SourceFile): ReadonlyMap<string, readonly string[]> {
  const before = known.get(source);
  if (before !== undefined) return before;
  const found = new Map<string, string[]>();
  known.set(source, found);
  const options = {
    declaration: true,
    isolatedDeclarations: true,
    removeComments: true,
    target: ts.ScriptTarget.ES2023,
  };
  const { outputText } = ts.transpileDeclaration(source.text, {
    compilerOptions: options,
    fileName: source.fileName,
  });
  const declared = ts.createSourceFile('api.d.ts', outputText, ts.ScriptTarget.ESNext, true);
  const printer = ts.createPrinter({ removeComments: true });
  const add = (name: string, text: string): void => {
    const clean = text.replace(/^export /, '').replace(/^declare /, '');
    const line = clean.length > 160 || /^(class|interface)/.test(clean) ? clean : clean.replace(/\s+/g, ' ');
    found.set(name, [...(found.get(name) ?? []), line]);
  };
  for (const statement of declared.statements) {
    const text = printer.printNode(ts.EmitHint.Unspecified, statement, declared);
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) add(name.getText(declared), text);
    } else if (
      ts.isFunctionDeclaration(statement) ||
      ts.isClassDeclaration(statement) ||
      ts.isInterfaceDeclaration(statement) ||
      ts.isTypeAliasDeclaration(statement)
    ) {
      if (statement.name !== undefined) add(statement.name.text, text);
    }
  }
  return found;
}
