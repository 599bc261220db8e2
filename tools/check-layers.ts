import path from 'node:path';
import ts from 'typescript';
import { conclude, isTest, readFiles, type SourceFile } from './lib/sources.ts';

/** What each package may import of ours. Tests may import more: they are not shipped. */
export const packageImports: Readonly<Record<string, readonly string[]>> = {
  core: [],
  onnx: ['core'],
  data: ['core'],
  simplify: ['core'],
  training: ['core', 'data'],
  pruning: ['core', 'training'],
  distillation: ['core', 'training'],
  quantization: ['core', 'training'],
  'backend-onnxruntime': ['core', 'onnx'],
  'backend-webgpu': ['core'],
  'backend-cuda': ['core'],
  testkit: ['core'],
  cli: [
    'core',
    'onnx',
    'data',
    'simplify',
    'training',
    'pruning',
    'distillation',
    'quantization',
    'backend-onnxruntime',
    'backend-webgpu',
    'backend-cuda',
  ],
};

/** The folders of core, lowest first. A folder imports those of the lines above it and its own, never a neighbour. */
export const coreLayers: readonly (readonly string[])[] = [
  ['errors', 'context', 'linear-algebra'],
  ['tensor'],
  ['ir'],
  ['data'],
  ['op', 'metrics'],
  ['verify', 'rewrite', 'ops', 'print'],
  ['infer'],
  ['backend', 'builder'],
  ['pass'],
  ['reference', 'measure'],
  ['toolkit'],
];

/** Every import that goes the wrong way, as sentences. */
export function layerProblems(files: readonly SourceFile[]): readonly string[] {
  const problems: string[] = [];
  const rank = new Map(coreLayers.flatMap((layer, index) => layer.map((folder) => [folder, index])));
  for (const { file, text } of files) {
    const [, name, , ...rest] = file.split('/');
    if (name === undefined || isTest(file)) continue;
    const allowed = packageImports[name];
    if (allowed === undefined) {
      problems.push(`${file}: package ${name} is not in the table of tools/check-layers.ts.`);
      continue;
    }
    const folder = rest.length > 1 ? rest[0] : undefined;
    if (name === 'core' && folder !== undefined && !rank.has(folder)) {
      problems.push(`${file}: folder ${folder} of core is not in the table of tools/check-layers.ts.`);
      continue;
    }
    for (const imported of ts.preProcessFile(text, true, true).importedFiles) {
      const specifier = imported.fileName;
      const other = /^@lithe\/([\w-]+)/.exec(specifier)?.[1];
      if (other !== undefined && !allowed.includes(other)) {
        problems.push(
          `${file}: imports ${specifier}; ${name} may import ${allowed.join(', ') || 'nothing of ours'}.`,
        );
      }
      if (/^@lithe-internal\//.test(specifier)) problems.push(`${file}: imports the private ${specifier}.`);
      if (!specifier.startsWith('.')) continue;
      const target = path.posix.join(path.posix.dirname(file), specifier);
      if (!target.startsWith(`packages/${name}/src/`)) {
        problems.push(`${file}: ${specifier} leaves the sources of its package.`);
        continue;
      }
      const targetFolder = target.split('/').length > 4 ? target.split('/')[3] : undefined;
      if (name !== 'core' || folder === undefined || folder === targetFolder) continue;
      const from = rank.get(folder) ?? -1;
      const to = targetFolder === undefined ? Number.POSITIVE_INFINITY : (rank.get(targetFolder) ?? -1);
      if (to >= from) {
        problems.push(
          `${file}: core/${folder} may not import ${targetFolder === undefined ? 'an entry file' : `core/${targetFolder}`}.`,
        );
      }
    }
  }
  return problems;
}

/** Checks the import directions between packages and between the folders of core. */
export function main(): number {
  const files = readFiles('packages', (file) => /^packages\/[\w-]+\/src\/.*\.ts$/.test(file));
  return conclude('Import directions', layerProblems(files));
}
