/** The look of a page: for light and dark screens, phones and paper. No font and no picture comes from elsewhere. */
export const styleSheet = `
:root {
  color-scheme: light dark;
  --paper: #fff; --ground: #f6f7f9; --ink: #16202c; --muted: #586574; --line: #dbe0e6; --head: #eef1f4;
  --accent: #0b6e99; --good: #17703f; --bad: #b3261e; --bad-ground: #fdf0ee; --warn-ground: #fdf6e3; --warn: #7a5600;
  --series-1: #0b6e99; --series-2: #c4621a; --series-3: #6a4fb3; --series-4: #2c8a4b; --series-5: #b3367e; --series-6: #7a7f16;
  --before: #9aa6b2; --plot-background: var(--paper);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161b22; --ground: #0e1116; --ink: #e4e9ef; --muted: #9aa7b5; --line: #303842; --head: #1d242d;
    --accent: #58b7e0; --good: #6cc795; --bad: #ff9388; --bad-ground: #2c1918; --warn-ground: #29220f; --warn: #e5c46b;
    --series-1: #58b7e0; --series-2: #f0a060; --series-3: #b09cf0; --series-4: #74c98f; --series-5: #ec8cc0; --series-6: #c9cd62;
    --before: #6d7986;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.skip { position: absolute; left: -999em; }
.skip:focus { left: 1rem; top: .5rem; background: var(--paper); padding: .25rem .75rem; z-index: 2; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.page-header, main, footer, nav { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
.page-header { padding-top: 2.25rem; }
h1 { font-size: 1.85rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .75rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
p { margin: .4rem 0; max-width: 48rem; }
.meta, .note, figcaption, footer { color: var(--muted); font-size: .875rem; }
.verdict { font-size: 1.1rem; margin: .6rem 0 1.1rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: .7rem 0; margin: 0; border-block: 1px solid var(--line); font-size: .9rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem 1.4rem; margin: 1.25rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .8rem; margin: 0 0 1.4rem; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: .75rem 1rem; }
.tile dt { color: var(--muted); font-size: .85rem; }
.tile dd { margin: 0; }
.tile .figure { font-size: 1.45rem; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tile .from { color: var(--muted); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding: 0 0 .5rem; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { background: var(--head); font-weight: 600; vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
td small, th small { display: block; color: var(--muted); font-weight: 400; font-size: .82em; }
tr.is-result { background: color-mix(in srgb, var(--accent) 9%, transparent); }
.tag { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 .5em; font-size: .72rem; font-weight: 600; white-space: nowrap; color: var(--muted); }
.tag.result { color: var(--accent); }
.met { color: var(--good); font-weight: 600; white-space: nowrap; }
.unmet, .failure { color: var(--bad); font-weight: 600; }
.unmet { white-space: nowrap; }
.callout { border-left: 4px solid var(--warn); background: var(--warn-ground); padding: .6rem 1rem; border-radius: 0 6px 6px 0; margin: 0 0 1rem; }
.callout ul, .findings { margin: .2rem 0; padding-left: 1.2rem; }
.callout.bad { border-color: var(--bad); background: var(--bad-ground); }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
.figures > figure > svg { max-width: 36rem; }
.curves svg { max-width: 56rem; min-width: 36rem; }
.key svg { display: inline-block; width: 1rem; height: 1rem; vertical-align: -.15em; }
.plot text { white-space: pre; }
figcaption { margin-top: .4rem; max-width: 48rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: .5rem 1.5rem; }
.figures figure { margin: .5rem 0; min-width: 0; }
.figures.three { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.key { color: var(--series-1); } .key-before { color: var(--before); }
details h3 { font-size: .9rem; margin: .9rem 0 .3rem; }
.small-figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13.5rem), 1fr)); gap: .25rem 1rem; }
.small-figures figure { margin: .25rem 0; min-width: 0; }
.small-figures figcaption { margin: 0; font-size: .78rem; overflow-wrap: anywhere; }
.legend { list-style: none; margin: 1.8rem 0 0; padding: 0; font-size: .875rem; color: var(--muted); }
.legend li { margin: .15rem 0; } .legend .key { display: inline-block; width: 1.3em; }
details { border-top: 1px solid var(--line); }
details > summary { cursor: pointer; padding: .6rem .2rem; font-weight: 600; overflow-wrap: anywhere; }
details > summary .gist { font-weight: 400; color: var(--muted); }
details[open] > summary { border-bottom: 1px dashed var(--line); }
.details-body { padding: .4rem .2rem 1rem; }
details details { border: 0; }
details details > summary { font-weight: 500; font-size: .9rem; padding: .3rem 0; }
pre { background: var(--head); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; }
code, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; }
code { font-size: .9em; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: .5rem 0; font-size: .9rem; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
footer { padding-block: .5rem 2.5rem; }
@media (max-width: 40rem) {
  .page-header, main, footer, nav { padding-inline: .8rem; }
  section { padding: .9rem .8rem; border-radius: 8px; }
  h1 { font-size: 1.45rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: .5rem; } .tile { padding: .5rem .7rem; } .tile .figure { font-size: 1.15rem; }
  .scroll > table:not(.narrow) { min-width: 30rem; } .steps tbody th { position: sticky; left: 0; background: var(--paper); max-width: 9rem; border-right: 1px solid var(--line); }
  .steps .is-result th { background: color-mix(in srgb, var(--accent) 9%, var(--paper)); }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: .4rem; }
}
@page { size: A4; margin: 14mm 13mm; }
@media print {
  :root {
    color-scheme: light;
    --paper: #fff; --ground: #fff; --ink: #000; --muted: #44505c; --line: #c9d0d7; --head: #f0f2f4;
    --accent: #0b5f85; --good: #125c33; --bad: #9c1c15; --bad-ground: #fff; --warn-ground: #fff; --warn: #7a5600;
    --series-1: #0b6e99; --series-2: #c4621a; --series-3: #6a4fb3; --series-4: #2c8a4b; --series-5: #b3367e; --series-6: #7a7f16;
    --before: #9aa6b2;
  }
  html { font-size: 11.5px; }
  body { font-size: 9.5pt; line-height: 1.4; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav, .skip { display: none; }
  .page-header, main, footer { max-width: none; padding: 0; }
  section { border: 0; border-radius: 0; padding: 0; margin: 5mm 0; }
  figure { margin: 2mm 0; }
  .tile { border-radius: 4px; padding: 2mm 3mm; } .tiles { grid-template-columns: repeat(auto-fit, minmax(32mm, 1fr)); gap: 2mm; }
  .tile .figure { font-size: 12pt; }
  h2, h3, summary, caption, .note { break-after: avoid; }
  tr, figure, .tile, .callout, .short, .legend, pre { break-inside: avoid; }
  thead { display: table-header-group; }
  th, td { padding: 1mm 1.5mm; }
  table { font-size: 8pt; }
  .scroll { overflow: visible; } .curves svg { min-width: 0; max-width: 100%; }
  .figures { grid-template-columns: 1fr 1fr; gap: 3mm 6mm; }
  .figures.three { grid-template-columns: 1fr 1fr 1fr; }
  .small-figures { break-before: avoid; }
  .small-figures { grid-template-columns: repeat(4, 1fr); gap: 1mm 4mm; }
  details::details-content { content-visibility: visible; block-size: auto; }
  details > summary { list-style: none; }
  a { color: inherit; text-decoration: none; }
}
`;
