/** Characters of a line that is not broken. */
const LINE = 88;
/** Characters that are shown at all. */
const MOST_CHARACTERS = 20_000;

function flat(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flat).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const parts = entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${flat(inner)}`);
  return parts.length === 0 ? '{}' : `{ ${parts.join(', ')} }`;
}

/** Like JSON, which leaves out what is undefined. */
function entries(value: object): readonly (readonly [string, unknown])[] {
  return Object.entries(value).filter(([, inner]) => inner !== undefined);
}

function write(value: unknown, indent: string): string {
  const line = flat(value);
  if (line.length + indent.length <= LINE || typeof value !== 'object' || value === null) return line;
  const inner = `${indent}  `;
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const parts = Array.isArray(value)
    ? value.map((one: unknown) => write(one, inner))
    : entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${write(one, inner)}`);
  return `${open}\n${parts.map((part) => inner + part).join(',\n')}\n${indent}${close}`;
}

/** Options of a pass as JSON, with what fits on a line on one. */
export function optionsText(options: unknown): string {
  if (options === undefined) return 'none';
  const text = write(options, '');
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}\n…` : text;
}
