import type { StandardSchemaV1 } from '@standard-schema/spec';
import { errors } from '../errors/catalogue.ts';
import type { Pass, PassSpec, PassStep } from './pass.ts';

function describeIssue(issue: StandardSchemaV1.Issue): string {
  const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
  return path === '' ? `${issue.message}.` : `"${path}": ${issue.message}.`;
}

/**
 * Defines a pass. Options are validated when a step is made, so a mistake shows before anything runs.
 *
 * @example
 * ```ts
 * import { definePass, ReportBuilder, type StandardOptions } from '@lithe/core';
 *
 * const options: StandardOptions<{ prefix?: string }, { prefix: string }> = {
 *   '~standard': {
 *     version: 1,
 *     vendor: 'example',
 *     validate: (value) => ({ value: { prefix: (value as { prefix?: string }).prefix ?? 'n_' } }),
 *   },
 * };
 * export const renameNodes = definePass({
 *   name: 'example/rename-nodes',
 *   version: 1,
 *   summary: 'Puts a prefix before every node name.',
 *   options,
 *   preserves: 'bitwise',
 *   run: (draft, { prefix }) => {
 *     const report = new ReportBuilder();
 *     for (const node of draft.graph.nodes()) node.name = `${prefix}${node.name}`;
 *     return report.build();
 *   },
 * });
 * renameNodes({ prefix: 'x_' }).name; // => 'example/rename-nodes'
 * ```
 */
export function definePass<Input, Output>(spec: PassSpec<Input, Output>): Pass<Input, Output> {
  const from = (options?: unknown): PassStep => {
    const result = spec.options['~standard'].validate(options ?? {});
    if (result instanceof Promise)
      throw errors.optionsInvalid(`pass "${spec.name}"`, ['The schema must validate synchronously.']);
    if (result.issues !== undefined)
      throw errors.optionsInvalid(`pass "${spec.name}"`, result.issues.map(describeIssue));
    const { value } = result;
    const { preserves } = spec;
    return {
      name: spec.name,
      version: spec.version,
      summary: spec.summary,
      options: value,
      needs: spec.needs ?? [],
      models: spec.models?.(value) ?? [],
      preserves: typeof preserves === 'function' ? preserves(value) : preserves,
      requires: spec.requires ?? [],
      ensures: spec.ensures ?? [],
      run: async (draft, context) => spec.run(draft, value, context),
    };
  };
  return Object.assign((options?: Input): PassStep => from(options), { spec, from });
}

/** The Standard Schema interface, under a shorter name, for passes that write their schema by hand. */
export type StandardOptions<Input, Output> = StandardSchemaV1<Input, Output>;
