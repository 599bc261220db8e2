import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { evaluateValues, type ReferenceValue, referenceKernels } from '@lithe/core/reference';
import { readOnnx, readValueProto, type ValueDataKind } from '@lithe/onnx';
import { it } from 'vitest';
import { differenceOf } from './compare.ts';

it('dev', async () => {
  const root = process.env['NODE_DIR'] ?? '/tmp/ref116data/node';
  const filter = new RegExp(process.env['ONLY'] ?? '.');
  let ok = 0;
  const bad: string[] = [];
  const missing = new Map<string, number>();
  const slow: [number, string][] = [];
  for (const name of readdirSync(root)) {
    if (!filter.test(name) || !existsSync(`${root}/${name}/model.onnx`)) continue;
    const started = performance.now();
    try {
      const model = await readOnnx(new Uint8Array(readFileSync(`${root}/${name}/model.onnx`)));
      const unknown = [...model.graph.nodesDeep()].filter((node) => referenceKernels[node.op] === undefined);
      if (unknown.length > 0) {
        for (const op of new Set(unknown.map((node) => node.op))) missing.set(op, (missing.get(op) ?? 0) + 1);
        continue;
      }
      const dir = `${root}/${name}/test_data_set_0`;
      const feeds: Record<string, ReferenceValue> = {};
      model.graph.inputs.forEach((input, index) => {
        const file = `${dir}/input_${index}.pb`;
        if (existsSync(file))
          feeds[input.name] = readValueProto(
            new Uint8Array(readFileSync(file)),
            (input.type?.kind ?? 'tensor') as ValueDataKind,
          );
      });
      const out = await evaluateValues(model, feeds);
      const problems: string[] = [];
      model.graph.outputs.forEach((output, index) => {
        const want = readValueProto(
          new Uint8Array(readFileSync(`${dir}/output_${index}.pb`)),
          (output.type?.kind ?? 'tensor') as ValueDataKind,
        );
        const found = differenceOf(out[output.name] ?? null, want, { absolute: 1e-6, relative: 1e-4 });
        if (found !== undefined) problems.push(`${index}: ${found}`);
      });
      if (problems.length > 0) bad.push(`${name}: ${problems.join('; ')}`);
      else ok++;
    } catch (error) {
      bad.push(`${name}: ${process.env['STACK'] ? (error as Error).stack : String(error).slice(0, 200)}`);
    }
    slow.push([performance.now() - started, name]);
  }
  slow.sort((a, b) => b[0] - a[0]);
  process.stdout.write(
    `ok ${ok}\nbad ${bad.length}\n${bad.join('\n')}\nmissing ${[...missing]
      .sort((a, b) => b[1] - a[1])
      .map(([k, v]) => `${k}:${v}`)
      .join(' ')}\nslow ${slow
      .slice(0, 6)
      .map(([t, n]) => `${n} ${t.toFixed(0)}`)
      .join(', ')}\n`,
  );
}, 300000);
