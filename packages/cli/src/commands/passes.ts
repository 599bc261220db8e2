import type { AnyPass, PassNeed } from '@lithe/core';
import { type Command, Help, Option } from 'commander';
import { exitCodes, UsageError } from '../exit-codes.ts';
import { jsonOption } from '../options.ts';
import { type JsonSchema, jsonSchemaOf, unknownText } from '../recipe/issues.ts';
import { optionTypes } from '../recipe/option-types.ts';
import { ownPluginNames, pluginPasses } from '../recipe/plugins.ts';
import { printJson, runCommand } from '../run-command.ts';
import { formatTable } from '../terminal/format.ts';
import type { CommandContext } from './context.ts';

interface PassesArguments {
  readonly plugin?: readonly string[];
  readonly json?: boolean;
}

/** A pass as `passes --json` prints it. */
export interface PassDescription {
  /** `namespace/name`, as recipes use it. */
  readonly name: string;
  /** Version of its options and behaviour. */
  readonly version: number;
  /** Package that a recipe lists under `plugins`. */
  readonly plugin: string;
  /** What it does, one sentence. */
  readonly summary: string;
  /** What it needs. */
  readonly needs: readonly PassNeed[];
  /** JSON Schema of its options; `null` where its schema cannot be written as one. */
  readonly options: JsonSchema | null;
}

const examples = `
Examples:
  lithe passes
  lithe passes training/train
  lithe passes --plugin lithe-plugin-acme --json
`;

/** Adds `lithe passes`. */
export function addPasses(program: Command, context: CommandContext): void {
  program
    .command('passes')
    .summary('list the passes that recipes can use, and their options')
    .description(
      'Lists the passes of plugins by the names that recipes use; of one pass the options, what they take and what holds without them.',
    )
    .argument('[pass]', 'pass: namespace/name')
    .addOption(
      new Option(
        '--plugin <package>',
        'plugin, found as a recipe in this folder would; repeat for more (default: those that come along)',
      ).argParser((name: string, previous: readonly string[] = []) => [...previous, name]),
    )
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action(async (wanted: string | undefined, options: PassesArguments) => {
      context.exitCode = await runCommand(context.io, async () => {
        const all = await describePasses(options.plugin ?? ownPluginNames());
        const passes = wanted === undefined ? all : all.filter(({ name }) => name === wanted);
        if (passes.length === 0 && wanted !== undefined)
          throw new UsageError(
            unknownText(
              'pass',
              wanted,
              all.map(({ name }) => name),
            ),
          );
        if (options.json === true) printJson(context.io, { passes });
        else context.io.out.write(wanted === undefined ? listText(passes) : passes.map(passText).join('\n'));
        return exitCodes.done;
      });
    });
}

async function describePasses(plugins: readonly string[]): Promise<readonly PassDescription[]> {
  const found: PassDescription[] = [];
  for (const plugin of plugins) {
    const passes = await pluginPasses(plugin, [process.cwd()]);
    if (passes === undefined)
      throw new UsageError(`Plugin "${plugin}" is not installed: npm install ${plugin}`);
    if (typeof passes === 'string') throw new UsageError(`Plugin "${plugin}" cannot be used: ${passes}`);
    found.push(...passes.map((pass) => describePass(pass, plugin)));
  }
  return found;
}

function describePass({ spec }: AnyPass, plugin: string): PassDescription {
  const { name, version, summary, needs = [], options } = spec;
  return { name, version, plugin, summary, needs, options: jsonSchemaOf(options) ?? null };
}

const INDENT = '    ';

/** Two lines a pass, or three: names and sentences side by side do not fit a terminal. */
function listText(passes: readonly PassDescription[]): string {
  const layout = new Help();
  const entries = passes.map(({ name, version, needs, summary }) => {
    const asked = needs.length === 0 ? '' : `  (needs ${needs.join(', ')})`;
    const sentence = layout.boxWrap(summary, LINE - INDENT.length).split('\n');
    return [`${name}@${version}${asked}`, ...sentence.map((line) => `${INDENT}${line}`)].join('\n');
  });
  return `${entries.join('\n')}\n`;
}

function passText({ name, version, plugin, summary, needs, options }: PassDescription): string {
  const rows =
    options === null
      ? []
      : optionTypes(options).flatMap(({ name: option, type, standard }) =>
          linesOf(type).map((line, index) => (index === 0 ? [option, line, standard] : ['', line, ''])),
        );
  const table =
    options === null
      ? 'Its schema does not tell which options it takes.'
      : rows.length === 0
        ? 'It takes no options.'
        : formatTable([['option', 'takes', 'by default'], ...rows]);
  return [
    `${name}@${version}, of ${plugin}: ${summary}`,
    ...(needs.length === 0 ? [] : [`needs: ${needs.join(', ')}`]),
    '',
    table,
    '',
  ].join('\n');
}

/** Letters of a line; longer choices are written one below the other. */
const LINE = 80;

function linesOf(type: string): readonly string[] {
  return type.length <= LINE || type.includes('(') ? [type] : type.split(/ (?=\| )/);
}
