import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { packageImports } from './check-layers.ts';
import { conclude, packageNames, readFiles, root, type SourceFile } from './lib/sources.ts';

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly description?: string;
  readonly license?: string;
  readonly type?: string;
  readonly private?: boolean;
  readonly sideEffects?: unknown;
  readonly engines?: { readonly node?: string };
  readonly files?: readonly string[];
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The one range of core that every plugin names while versions start with 0 (docs/adr/0007-one-core-by-peers.md). */
const corePeer = '>=0.1.0 <1.0.0';

/** Runtimes are chosen by the user; a library names them as optional peers, never as dependencies. */
const runtimes = ['onnxruntime-node', 'onnxruntime-web', 'webgpu', '@tensorflow/tfjs-node-gpu', 'sharp'];

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const json = (file: string): unknown => ts.parseConfigFileTextToJson(file, read(file)).config;
const has = (file: string): boolean => existsSync(path.join(root, file));

/** What a package lacks of what every package has, as sentences. */
export function packageProblems(name: string): readonly string[] {
  const folder = `packages/${name}`;
  const problems: string[] = [];
  const expectThat = (holds: unknown, message: string): void => {
    if (!holds) problems.push(`${folder}: ${message}`);
  };
  for (const file of ['README.md', 'CHANGELOG.md', 'tsconfig.json', 'typedoc.json', 'src/index.ts']) {
    expectThat(has(`${folder}/${file}`), `${file} is missing.`);
  }
  if (problems.length > 0) return problems;

  const manifest = json(`${folder}/package.json`) as Manifest;
  expectThat(manifest.name === `@lithe/${name}`, `the name must be @lithe/${name}.`);
  expectThat(/^\d+\.\d+\.\d+/.test(manifest.version ?? ''), 'package.json has no version.');
  expectThat(
    (manifest.description ?? '').endsWith('.'),
    'package.json has no description in a full sentence.',
  );
  expectThat(manifest.license === 'Apache-2.0', 'the license must be Apache-2.0.');
  expectThat(manifest.type === 'module', 'the type must be "module".');
  expectThat(manifest.private !== true, 'a package under packages/ is published, so not private.');
  expectThat(manifest.sideEffects === false, 'sideEffects must be false.');
  expectThat(manifest.engines?.node?.startsWith('>=20.19'), 'engines.node must start with >=20.19.');
  expectThat(
    manifest.files?.includes('dist') && manifest.files.includes('src'),
    'files must list dist and src.',
  );
  problems.push(...exportProblems(folder, manifest));

  const imports = packageImports[name];
  expectThat(imports !== undefined, 'the package is not in the table of tools/check-layers.ts.');
  if (name !== 'core' && name !== 'cli') {
    expectThat(
      manifest.peerDependencies?.['@lithe/core'] === corePeer,
      `@lithe/core must be a peer, "${corePeer}".`,
    );
    expectThat(manifest.dependencies?.['@lithe/core'] === undefined, '@lithe/core must not be a dependency.');
    for (const runtime of runtimes) {
      expectThat(manifest.dependencies?.[runtime] === undefined, `${runtime} must be an optional peer.`);
      if (manifest.peerDependencies?.[runtime] !== undefined) {
        expectThat(
          manifest.peerDependenciesMeta?.[runtime]?.optional,
          `the peer ${runtime} must be optional.`,
        );
      }
    }
  }
  const references = (json('tsconfig.json') as { references: readonly { path: string }[] }).references;
  expectThat(
    references.some((one) => one.path === folder),
    'the root tsconfig.json does not reference it.',
  );
  expectThat(
    read(`${folder}/README.md`).startsWith(`# @lithe/${name}\n`),
    'the README must start with its name.',
  );
  expectThat(
    read(`${folder}/README.md`).length > 400,
    'the README says too little: what it is for, and a use.',
  );
  expectThat(
    read(`${folder}/CHANGELOG.md`).startsWith(`# @lithe/${name}\n`),
    'the changelog must start with its name.',
  );
  expectThat(
    name === 'cli' || /^\s*\/\*\*[\s\S]*?@(packageDocumentation|module)/.test(read(`${folder}/src/index.ts`)),
    'src/index.ts has no summary: a comment with @packageDocumentation at its top.',
  );
  const tests = readFiles(folder, (file) => /\.test\.ts$/.test(file));
  expectThat(tests.length > 0, 'it has no test.');
  if (name.startsWith('backend-')) {
    expectThat(
      tests.some((test) => /conformance/.test(test.file) && test.text.includes('@lithe/testkit')),
      'a backend runs the conformance suite of @lithe/testkit in a *conformance*.test.ts.',
    );
  }
  return problems;
}

/** Every entry point resolves to a source, its types and its code, and is documented. */
function exportProblems(folder: string, manifest: Manifest): readonly string[] {
  const problems: string[] = [];
  const entryPoints = new Set(
    (json(`${folder}/typedoc.json`) as { entryPoints: readonly string[] }).entryPoints,
  );
  for (const [subpath, target] of Object.entries(manifest.exports ?? {})) {
    if (subpath === './package.json') continue;
    const conditions = leafConditions(target);
    if (conditions.length === 0) problems.push(`${folder}: exports["${subpath}"] has no conditions.`);
    for (const entry of conditions) {
      const base = /^\.\/src\/(.+)\.ts$/.exec(entry['@lithe/source'] ?? '')?.[1];
      const keys = Object.keys(entry).join(', ');
      const sound =
        base !== undefined &&
        keys === '@lithe/source, types, default' &&
        entry['types'] === `./dist/${base}.d.ts` &&
        entry['default'] === `./dist/${base}.js` &&
        has(`${folder}/src/${base}.ts`);
      if (!sound)
        problems.push(`${folder}: exports["${subpath}"] must be @lithe/source, types, default of one file.`);
      else if (!entryPoints.has(`src/${base}.ts`)) {
        problems.push(
          `${folder}: src/${base}.ts is exported and not among the entry points of typedoc.json.`,
        );
      }
    }
  }
  if (manifest.exports?.['./package.json'] !== './package.json') {
    problems.push(`${folder}: exports must hold "./package.json".`);
  }
  return problems;
}

/** The innermost condition objects: those of a plain entry, or those under `node` and `browser`. */
function leafConditions(target: unknown): readonly Readonly<Record<string, string>>[] {
  if (typeof target !== 'object' || target === null) return [];
  const values = Object.values(target);
  if (values.every((value) => typeof value === 'string')) return [target as Readonly<Record<string, string>>];
  return values.flatMap(leafConditions);
}

/** Links of a page that lead to no file. */
export function brokenLinks({ file, text }: SourceFile): readonly string[] {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target) && !has(path.posix.join(path.posix.dirname(file), target)))
    .map((target) => `${file}: the link to ${target} leads nowhere.`);
}

/** Checks that every package has what a package needs. */
export function main(): number {
  const problems = packageNames().flatMap(packageProblems);
  for (const file of ['LICENSE', 'README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']) {
    if (!has(file)) problems.push(`${file} is missing.`);
  }
  if (has('ARCHITECTURE.md') && read('ARCHITECTURE.md').split('\n').length > 151) {
    problems.push('ARCHITECTURE.md has more than 150 lines.');
  }
  const pages = [
    ...readFiles('docs', (file) => file.endsWith('.md') && !file.startsWith('docs/api/')),
    ...readFiles('packages', (file) => /^packages\/[\w-]+\/README\.md$/.test(file)),
    ...readFiles('apps', (file) => file.endsWith('.md')),
    ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']
      .filter(has)
      .map((file) => ({ file, text: read(file) })),
  ];
  problems.push(...pages.flatMap(brokenLinks));
  return conclude('Structure', problems);
}
