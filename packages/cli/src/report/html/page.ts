import { createHash } from 'node:crypto';
import { type Html, html, trusted } from './markup.ts';
import { styleSheet } from './style.ts';

/** A part of a page under its own heading. */
export interface PageSection {
  /** Where the navigation leads. */
  readonly id: string;
  /** Heading. */
  readonly title: string;
  /** What is in it. */
  readonly body: Html;
}

/** What is on a page. */
export interface PageParts {
  /** Title of the document. */
  readonly title: string;
  /** The head of the page: its title and what came out. */
  readonly header: Html;
  /** The sections, in order. */
  readonly sections: readonly PageSection[];
  /** The last line. */
  readonly footer: Html;
}

/** Folded details are opened for paper, and folded again afterwards. */
const script = `addEventListener('beforeprint',()=>{for(const d of document.querySelectorAll('details:not([open])')){d.dataset.folded='';d.open=true}});
addEventListener('afterprint',()=>{for(const d of document.querySelectorAll('details[data-folded]')){delete d.dataset.folded;d.open=false}});`;

/**
 * A whole document in one file. It asks for nothing from anywhere: its policy forbids every request, and every script
 * but its own.
 */
export function pageDocument({ title, sections, header, footer }: PageParts): string {
  const hash = createHash('sha256').update(script).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Lithe">
<title>${title}</title>
<style>${trusted(styleSheet)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header class="page-header">${header}</header>
<nav aria-label="Sections"><ul>${sections.map(
    ({ id, title: heading }) => html`<li><a href="#${id}">${heading}</a></li>`,
  )}</ul></nav>
<main id="main">
${sections.map(
  ({ id, title: heading, body }) =>
    html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${heading}</h2>${body}</section>\n`,
)}</main>
<footer>${footer}</footer>
<script>${trusted(script)}</script>
</body>
</html>
`.html;
}
