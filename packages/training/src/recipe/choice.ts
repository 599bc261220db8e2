import { z } from 'zod';

/**
 * A choice that is made by its name alone, or by an object that holds the name and options. Both give the object.
 *
 * @param choices what the object may be
 */
export function namedChoice<Output extends { readonly name: string }, Input>(
  choices: z.ZodType<Output>,
): z.ZodType<Output, Input> {
  return z.preprocess((value: Input) => (typeof value === 'string' ? { name: value } : value), choices);
}

/** The message of a choice whose name is not known. */
export function allowedNames(names: readonly string[]): { error: () => string } {
  return { error: () => `expected one of ${names.join(', ')}` };
}

/** Whether a name matches one of some patterns, in which `*` stands for any text. */
export function matchesPattern(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    const escaped = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
    return new RegExp(`^${escaped.join('.*')}$`, 'u').test(name);
  });
}
