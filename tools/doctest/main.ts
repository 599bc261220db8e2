import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { conclude, isTest, readFiles, root, type SourceFile } from '../lib/sources.ts';
import { type Example, examplesOfMarkdown, examplesOfSource } from './extract.ts';
import { moduleOf } from './generate.ts';

const folder = path.join(root, '.doctest');
const timeLimitMilliseconds = 300_000;

/** Every example of the documentation: in comments of shipped sources, in READMEs, in `docs/`. */
export function allExamples(): readonly Example[] {
  const sources = readFiles(
    'packages',
    (file) => /^packages\/[\w-]+\/src\/.*\.ts$/.test(file) && !isTest(file),
  );
  const pages: SourceFile[] = [
    ...readFiles('docs', (file) => file.endsWith('.md') && !file.startsWith('docs/api/')),
    ...readFiles('packages', (file) => /^packages\/[\w-]+\/README\.md$/.test(file)),
  ];
  for (const file of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']) {
    if (existsSync(path.join(root, file)))
      pages.push({ file, text: readFileSync(path.join(root, file), 'utf8') });
  }
  return [...sources.flatMap(examplesOfSource), ...pages.flatMap((page) => examplesOfMarkdown(page))];
}

/** Typechecks every example against the sources, then runs it against the build; `// => value` are assertions. */
export function main(args: readonly string[]): number {
  const wanted = allExamples().filter(
    ({ file }) => args.length === 0 || args.some((part) => file.includes(part)),
  );
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const written = wanted.map((example, index) => {
    const name = `${String(index).padStart(4, '0')}-${example.file.replace(/[^\w]+/g, '-')}`;
    const module = path.join(folder, `${name}.ts`);
    writeFileSync(module, moduleOf(example));
    return { example, module, where: `${example.file}:${example.line}` };
  });
  const problems = [...typeProblems(written)];
  if (problems.length === 0)
    problems.push(...runProblems(written.filter(({ example }) => example.mode === 'run')));
  process.stdout.write(
    `${wanted.length} examples, ${wanted.filter((example) => example.mode === 'run').length} of them run.\n`,
  );
  return conclude('Examples', problems);
}

interface Written {
  readonly example: Example;
  readonly module: string;
  readonly where: string;
}

function typeProblems(written: readonly Written[]): readonly string[] {
  const config = ts.getParsedCommandLineOfConfigFile(
    path.join(root, 'tsconfig.check.json'),
    { incremental: false, noUnusedLocals: false, noUnusedParameters: false },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined },
  );
  if (config === undefined) throw new Error('tsconfig.check.json cannot be read.');
  const { tsBuildInfoFile: _, ...options } = config.options;
  const byFile = new Map(written.map((one) => [one.module, one]));
  const program = ts.createProgram([...byFile.keys()], options);
  const problems: string[] = [];
  for (const module of byFile.keys()) {
    const source = program.getSourceFile(module);
    const origin = byFile.get(module);
    if (source === undefined || origin === undefined) continue;
    for (const diagnostic of [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ]) {
      const { line } = source.getLineAndCharacterOfPosition(diagnostic.start ?? 0);
      const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n');
      problems.push(`${origin.example.file}:${origin.example.line + line}: ${message}`);
    }
  }
  return problems;
}

function runProblems(written: readonly Written[]): readonly string[] {
  const list = path.join(folder, 'list.json');
  const report = path.join(folder, 'report.json');
  const modules = written.map(({ module, where }) => {
    const compiled = ts.transpileModule(readFileSync(module, 'utf8'), {
      compilerOptions: {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2023,
        verbatimModuleSyntax: true,
      },
    });
    const script = module.replace(/\.ts$/, '.mjs');
    writeFileSync(script, compiled.outputText);
    return { module: script, where };
  });
  writeFileSync(list, JSON.stringify(modules));
  const result = spawnSync(process.execPath, [path.join(root, 'tools/doctest/run.mjs'), list, report], {
    encoding: 'utf8',
    timeout: timeLimitMilliseconds,
  });
  if (!existsSync(report)) {
    return [
      `The examples did not run to their end (exit ${result.status}).\n${result.stdout}${result.stderr}`,
    ];
  }
  return JSON.parse(readFileSync(report, 'utf8')) as string[];
}
