// Makes src/proto/onnx_pb.ts from proto/onnx.proto. Both files are committed; run this after changing the schema:
//   node packages/onnx/tools/generate.mjs
// It installs the generator in a temporary folder: 2.10.2 is the last one that runs on Node 20.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = join(new URL('.', import.meta.url).pathname, '..');
const folder = mkdtempSync(join(tmpdir(), 'onnx-proto-'));
try {
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const run = (command, ...args) => execFileSync(command, args, { cwd: folder, stdio: 'inherit' });
  run(
    'npm',
    'install',
    '--silent',
    '--ignore-scripts',
    '@bufbuild/buf@1.75.0',
    '@bufbuild/protoc-gen-es@2.10.2',
  );
  mkdirSync(join(folder, 'proto'));
  copyFileSync(join(here, 'proto', 'onnx.proto'), join(folder, 'proto', 'onnx.proto'));
  const template = {
    version: 'v2',
    plugins: [
      { local: 'node_modules/.bin/protoc-gen-es', out: 'out', opt: ['target=ts', 'import_extension=ts'] },
    ],
  };
  writeFileSync(join(folder, 'buf.gen.yaml'), JSON.stringify(template));
  run('npx', 'buf', 'generate', 'proto');
  writeFileSync(
    join(here, 'src', 'proto', 'onnx_pb.ts'),
    withoutEnums(readFileSync(join(folder, 'out', 'onnx_pb.ts'), 'utf8')),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Rewrites `enum` declarations to constant objects, because the sources hold erasable syntax only. */
function withoutEnums(text) {
  return text.replace(/^export enum (\w+) \{\n([\s\S]*?)^\}\n/gm, (_, name, body) => {
    const members = body.replace(/^(\s*\w+) = (\d+),$/gm, '$1: $2,');
    return `export const ${name} = {\n${members}} as const;\n/** One of the numbers of {@link ${name}}. */\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];\n`;
  });
}
