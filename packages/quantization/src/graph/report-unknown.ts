import type { Node, ReportBuilder } from '@lithe/core';

/**
 * Reports names in options that no node has: they would be ignored without a word.
 *
 * @param nodes those that may be named, as the model came
 * @param asked names, by the option that they stand in
 */
export function reportUnknown(
  nodes: Iterable<Node>,
  asked: Readonly<Record<string, readonly string[]>>,
  report: ReportBuilder,
): void {
  const wanted = Object.entries(asked).filter(([, list]) => list.length > 0);
  if (wanted.length === 0) return;
  const names = new Set([...nodes].map(({ name }) => name));
  for (const [option, list] of wanted)
    for (const name of new Set(list))
      if (!names.has(name)) report.skip(name, 'not-found', `"${option}" names it, and no node has this name`);
}
