import { type Explanation, explain, formatExplanation } from '@lithe/quantization';
import { type Command, Option } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import { applyShapes } from '../inputs.ts';
import { openModel } from '../model-file.ts';
import { jsonOption, type Shapes, shapeOption, type TargetName, targetNames } from '../options.ts';
import { printJson, runCommand } from '../run-command.ts';
import { createTarget } from '../targets.ts';
import type { CommandContext } from './context.ts';

interface ExplainArguments {
  readonly target: TargetName;
  readonly all?: boolean;
  readonly json?: boolean;
  readonly shape?: Shapes;
}

/** What `explain --json` prints. */
export interface ExplainResult extends Explanation {
  /** Path. */
  readonly model: string;
}

/** Adds `lithe explain`. */
export function addExplain(program: Command, context: CommandContext): void {
  program
    .command('explain')
    .summary('tell what runs in integers, and why not')
    .description(
      'Tells for every operator of a quantized model whether the target computes it in integers, and which rule or neighbour stands in the way where it does not.',
    )
    .argument('<model>', 'ONNX file')
    .addOption(
      new Option('--target <name>', 'what the model runs in').choices(targetNames).default('node-cpu'),
    )
    .addOption(shapeOption())
    .option('--all', 'list every operator, not only those in floats')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  lithe explain model.int8.onnx\n  lithe explain model.int8.onnx --target wasm --json\n',
    )
    .action(async (path: string, options: ExplainArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        const { signal } = context.io;
        const { model } = await openModel(path, signal);
        applyShapes(model, options.shape);
        const target = await createTarget(options.target);
        const explanation = await explain(model, { target, context: { signal } });
        if (options.json === true)
          printJson(context.io, { model: path, ...explanation } satisfies ExplainResult);
        else {
          const list = options.all === true ? 'all' : 'problems';
          context.io.out.write(`${formatExplanation(explanation, { list })}\n`);
        }
        return exitCodes.done;
      });
    });
}
