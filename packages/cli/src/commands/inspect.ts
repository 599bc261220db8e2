import { formatType, inferShapes, modelCost, printModel } from '@lithe/core';
import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { applyShapes } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import { jsonOption, type Shapes, shapeOption } from '../options.ts';
import { printJson, runCommand } from '../run-command.ts';
import { formatBytes, formatCount, formatTable } from '../terminal/format.ts';
import type { CommandContext } from './context.ts';

interface InspectOptions {
  readonly json?: boolean;
  readonly graph?: boolean;
  readonly shape?: Shapes;
}

interface ValueSummary {
  readonly name: string;
  readonly dtype: string | null;
  readonly shape: readonly (number | string | null)[] | null;
}

/** What `inspect --json` prints. */
export interface InspectResult {
  /** Path. */
  readonly model: string;
  /** Opset of the file. */
  readonly opset: number;
  /** IR version of the file. */
  readonly irVersion: number;
  /** Tool that made it. */
  readonly producer: string;
  /** Inputs to feed. */
  readonly inputs: readonly ValueSummary[];
  /** Outputs. */
  readonly outputs: readonly ValueSummary[];
  /** Weights, counted once each. */
  readonly parameters: number;
  /** Bytes of the file with its external data. */
  readonly bytes: number;
  /** Multiply-accumulates of one run; `null` when sizes are not known (give `--shape`). */
  readonly macs: number | null;
  /** Nodes per operator, subgraphs included. */
  readonly operators: Readonly<Record<string, number>>;
  /** Operators that Lithe does not know: they pass through untouched. */
  readonly unknownOperators: readonly string[];
}

const summarize = (value: {
  name: string;
  dtype: string | undefined;
  shape: readonly (number | string | null)[] | undefined;
}): ValueSummary => ({
  name: value.name,
  dtype: value.dtype ?? null,
  shape: value.shape ?? null,
});

/** Reads what there is to tell about a model. */
export async function inspect(
  path: string,
  shapes: Shapes | undefined,
  signal: AbortSignal,
): Promise<InspectResult> {
  const { model, bytes } = await openModel(path, signal);
  applyShapes(model, shapes);
  const report = await inferShapes(model, { signal });
  const cost = modelCost(model);
  const counts = new Map<string, number>();
  for (const node of model.graph.nodesDeep()) counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
  const operators = Object.fromEntries(
    [...counts].sort(([left, a], [right, b]) => b - a || (left < right ? -1 : 1)),
  );
  return {
    model: path,
    opset: model.origin?.opset ?? model.opset,
    irVersion: model.origin?.irVersion ?? 0,
    producer: [model.producerName, model.producerVersion].filter((part) => part !== '').join(' '),
    inputs: model.graph.inputs.filter((value) => value.initializer === undefined).map(summarize),
    outputs: model.graph.outputs.map(summarize),
    parameters: cost.parameters,
    bytes,
    macs: cost.unknown.length > 0 ? null : cost.macs,
    operators,
    unknownOperators: report.unknown.map((item) => item.op),
  };
}

function printInspection(result: InspectResult): string {
  const describe = (value: ValueSummary): string =>
    `  ${value.name}  ${formatType({ kind: 'tensor', dtype: (value.dtype ?? undefined) as never, shape: value.shape ?? undefined })}`;
  const operators = Object.entries(result.operators).map(([name, count]) => [`  ${name}`, String(count)]);
  return [
    `${result.model}  ${formatBytes(result.bytes)}, opset ${result.opset}, IR version ${result.irVersion}${result.producer === '' ? '' : `, made by ${result.producer}`}`,
    'inputs',
    ...result.inputs.map(describe),
    'outputs',
    ...result.outputs.map(describe),
    `parameters  ${formatCount(result.parameters)}`,
    `MACs        ${result.macs === null ? 'not known: give the sizes of symbolic dims with --shape' : formatCount(result.macs)}`,
    'operators',
    formatTable(operators, [1]),
    ...(result.unknownOperators.length === 0
      ? []
      : [`unknown to Lithe (left untouched): ${result.unknownOperators.join(', ')}`]),
    '',
  ].join('\n');
}

/** Adds `lithe inspect`. */
export function addInspect(program: Command, context: CommandContext): void {
  program
    .command('inspect')
    .summary('tell what is in a model')
    .description('Tells the inputs, outputs, operators, parameters, size and cost of a model.')
    .argument('<model>', 'ONNX file')
    .addOption(shapeOption())
    .option('--graph', 'print every node')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  lithe inspect model.onnx\n  lithe inspect model.onnx --shape x=1x3x320x320 --json\n',
    )
    .action(async (path: string, options: InspectOptions) => {
      context.exitCode = await runCommand(context.io, async () => {
        const result = await inspect(path, options.shape, context.io.signal);
        if (options.json === true) printJson(context.io, result);
        else context.io.out.write(printInspection(result));
        if (options.graph === true) {
          const { model } = await openModel(path, context.io.signal);
          await inferShapes(model, { signal: context.io.signal });
          (options.json === true ? context.io.err : context.io.out).write(`${printModel(model)}\n`);
        }
        return exitCodes.done;
      });
    });
}
