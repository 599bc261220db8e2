import type { StandardSchemaV1 } from '@standard-schema/spec';
import { errors } from '../errors/catalogue.ts';
import type { PassNeed, PassStep, Preservation } from './pass.ts';

/** A pass of any options, as a list of passes holds it: `definePass` makes them. */
export interface AnyPass {
  /**
   * Makes a step from options that are data.
   *
   * @throws {LitheError} OPTIONS_INVALID when they do not fit the schema
   */
  from(options?: unknown): PassStep;
  /** How it was defined. */
  readonly spec: {
    /** `namespace/name`. */
    readonly name: `${string}/${string}`;
    /** Version of its options and behaviour. */
    readonly version: number;
    /** One sentence. */
    readonly summary: string;
    /** Schema of its options. */
    readonly options: StandardSchemaV1<unknown, unknown>;
    /** What it needs from the context. */
    readonly needs?: readonly PassNeed[] | undefined;
    /** How much it may change results. */
    readonly preserves: Preservation | ((options: never) => Preservation);
  };
}

/** What a package adds to recipes: its passes, by name. */
export interface Plugin {
  /** Name of the package. */
  readonly name: string;
  /** Its passes. */
  readonly passes: readonly AnyPass[];
}

/**
 * Declares what a package adds to recipes. A package exports it as `plugin`; `lithe run` imports the packages that a
 * recipe lists, and nothing else.
 *
 * @throws {LitheError} OPTIONS_INVALID when two passes have one name
 * @example
 * ```ts
 * import { definePass, definePlugin, type Plugin, ReportBuilder, type StandardOptions } from '@lithe/core';
 *
 * const none: StandardOptions<object, object> = {
 *   '~standard': { version: 1, vendor: 'example', validate: (value) => ({ value: value as object }) },
 * };
 * const nothing = definePass({
 *   name: 'example/nothing',
 *   version: 1,
 *   summary: 'Leaves the model as it is.',
 *   options: none,
 *   preserves: 'bitwise',
 *   run: () => new ReportBuilder().build(),
 * });
 * export const plugin: Plugin = definePlugin({ name: 'lithe-plugin-example', passes: [nothing] });
 * plugin.passes[0]?.spec.name; // => 'example/nothing'
 * ```
 */
export function definePlugin(plugin: Plugin): Plugin {
  const names = plugin.passes.map(({ spec }) => spec.name);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length > 0) {
    throw errors.optionsInvalid(
      `plugin "${plugin.name}"`,
      twice.map((name) => `Pass "${name}" is listed twice.`),
    );
  }
  return plugin;
}
