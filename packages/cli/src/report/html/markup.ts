import { plainText } from '../run-words.ts';

/** Text that is HTML already: what {@link html} gives, and drawings. */
export interface Html {
  /** The HTML. */
  readonly html: string;
}

/** What can be put into a template; lists are joined, `undefined` and `false` leave nothing. */
export type Part = Html | string | number | false | undefined | readonly Part[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A text as HTML that shows it, in an element or in a quoted attribute; control and bidi characters are replaced. */
export function escapeHtml(text: string): string {
  return plainText(text).replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');
}

function write(part: Part): string {
  if (part === undefined || part === false) return '';
  if (typeof part === 'string') return escapeHtml(part);
  if (typeof part === 'number') return String(part);
  if ('html' in part) return part.html;
  return part.map(write).join('');
}

/** HTML with parts: every text in it is escaped, so that no name can become markup. Attributes must be quoted. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { html: strings.reduce((text, string, index) => `${text}${write(parts[index - 1])}${string}`) };
}

/** HTML that our own code wrote elsewhere: drawings, style sheets. Never a text of a report. */
export function trusted(text: string): Html {
  return { html: text };
}
