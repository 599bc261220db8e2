import type { ReportTable, Skip, StepReport } from '@lithe/core';
import { EQUAL_SQNR_DB } from '../../compress/bench.ts';
import { formatBytes, formatCount, formatNumber } from '../../terminal/format.ts';
import { groupSkips } from '../../terminal/skips.ts';
import { parentOf } from '../findings.ts';
import type { RunReport, StepResult } from '../run-report.ts';
import { ORIGINAL, type RunSummary, type StepSummary } from '../run-summary.ts';
import { counted, metricWords, speedupWords } from '../run-words.ts';
import type { Drawing } from './drawing.ts';
import { histogramFigures } from './histograms.ts';
import { type Html, html, type Part } from './markup.ts';
import { optionsText } from './options-text.ts';
import type { SeedTable } from './series.ts';
import { stepId } from './step-table.ts';
import { tablePlots } from './table-plot.ts';

/** Entries that a list shows; the rest is counted. */
const MOST_ENTRIES = 200;
/** Rows that a table shows; the rest is counted. */
const MOST_TABLE_ROWS = 300;
/** Layers whose weights are drawn for each step. */
const MOST_LAYERS = 8;

/** Time for people: `0.8 s`, `3 min 20 s`. */
function formatDuration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (!(seconds >= 90)) return `${formatNumber(milliseconds / 1000)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 90) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function facts(rows: readonly (readonly [string, Part])[]): Html {
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** Reports that JSON holds have a number for outputs that are equal. */
function sqnrText(decibels: number): string {
  return decibels >= EQUAL_SQNR_DB ? 'equal outputs' : `${formatNumber(decibels)} dB`;
}

function checkText({ check, unchecked }: StepReport): string {
  if (check === undefined) return `not compared: ${unchecked ?? 'no reason was given'}`;
  return `${sqnrText(check.sqnrDb)}, largest difference ${formatNumber(check.maxAbs)}, on ${counted(check.samples, 'sample')}`;
}

function driftText({ drift }: StepResult): string | undefined {
  if (drift === undefined) return undefined;
  const same =
    drift.top1Agreement === undefined
      ? ''
      : `, same best class in ${(drift.top1Agreement * 100).toFixed(2)} %`;
  return `${sqnrText(drift.sqnrDb)}, cosine ${drift.cosine.toFixed(6)}, largest difference ${formatNumber(drift.maxAbs)}${same}`;
}

function stepFacts(step: StepSummary, first: StepResult): Html {
  const seconds = step.results.map(({ pass }) => formatDuration(pass.milliseconds));
  const drift = driftText(first);
  const resumed = step.results.filter((result) => result.resumed).length;
  return facts([
    ['pass', html`<code>${first.pass.pass}</code> version ${first.pass.version}`],
    ['from', step.from ?? ORIGINAL],
    ['time', seconds.join(', ')],
    ['parameters', step.parameters === undefined ? '–' : formatCount(Math.round(step.parameters.mean))],
    ['model', step.results.map(({ file }, index) => html`${index > 0 && ', '}<code>${file}</code>`)],
    ['check of the pass', checkText(first.pass)],
    ...(drift === undefined ? [] : [['outputs beside its source', drift] as const]),
    ...(resumed === 0 ? [] : [['taken over', `from an earlier run, ${counted(resumed, 'seed')}`] as const]),
  ]);
}

function seedTable(step: StepSummary, report: RunReport, summary: RunSummary): Html | undefined {
  if (step.seeds.length < 2) return undefined;
  const words = metricWords(report);
  return html`<div class="scroll" role="region" aria-label="Seeds of ${step.name}" tabindex="0"><table class="short"><caption>By seed; speedups beside the original.</caption>
<thead><tr><th scope="col">seed</th>${report.metric !== null && html`<th scope="col" class="number">${report.metric}</th>`}<th scope="col" class="number">size</th>${summary.batches.map((batch) => html`<th scope="col" class="number">batch ${batch}</th>`)}</tr></thead>
<tbody>${step.seeds.map(
    ({ seed, metric, bytes, speedups }) =>
      html`<tr><th scope="row">${seed}</th>${report.metric !== null && html`<td class="number">${metric === undefined ? '–' : words.value({ mean: metric, values: [metric] })}</td>`}<td class="number">${bytes === undefined ? '–' : formatBytes(bytes)}</td>${summary.batches.map(
        (batch) => {
          const speedup = speedups.find((one) => one.batch === batch);
          return html`<td class="number">${speedup === undefined ? '–' : speedupWords(speedup)}</td>`;
        },
      )}</tr>`,
  )}</tbody></table></div>`;
}

function figuresTable({ metrics }: StepReport): Html | undefined {
  const entries = Object.entries(metrics);
  if (entries.length === 0) return undefined;
  return html`<h3>Figures</h3>${facts(
    entries
      .slice(0, MOST_ENTRIES)
      .map(
        ([name, { value, unit }]) =>
          [name, `${unit === 'bytes' ? formatBytes(value) : `${formatNumber(value)} ${unit}`}`] as const,
      ),
  )}`;
}

function appliedList(applied: readonly string[]): Html {
  if (applied.length === 0) return html`<p>It applied nothing.</p>`;
  const more = applied.length - MOST_ENTRIES;
  return html`<details><summary>Applied: ${counted(applied.length, 'change')}</summary><ul>${applied
    .slice(0, MOST_ENTRIES)
    .map((what) => html`<li>${what}</li>`)}${more > 0 && html`<li>and ${more} more</li>`}</ul></details>`;
}

function skippedList(skipped: readonly Skip[]): Html | undefined {
  if (skipped.length === 0) return undefined;
  const groups = groupSkips(skipped);
  const more = groups.length - MOST_ENTRIES;
  return html`<h3>Left alone: ${counted(skipped.length, 'place')}</h3><ul>${groups
    .slice(0, MOST_ENTRIES)
    .map(
      ({ text, count }) => html`<li>${count} × ${text}</li>`,
    )}${more > 0 && html`<li>and ${more} more reasons</li>`}</ul>`;
}

function cellText(cell: string | number): string {
  return typeof cell === 'number' ? formatNumber(cell) : cell;
}

/** A table of a pass as it is. */
function dataTable(table: ReportTable, name: string, note: string): Html {
  const numeric = table.columns.map((_, column) =>
    table.rows.every((row) => typeof row[column] === 'number'),
  );
  const more = table.rows.length - MOST_TABLE_ROWS;
  const align = (column: number): Html | false => numeric[column] === true && html` class="number"`;
  return html`<details><summary>Table: ${table.title}</summary><div class="scroll" role="region" aria-label="${name}" tabindex="0"><table><caption>${table.title}.${note}${more > 0 && html` The first ${MOST_TABLE_ROWS} of ${table.rows.length} rows.`}</caption>
<thead><tr>${table.columns.map(({ name: heading, unit }, column) => html`<th scope="col"${align(column)}>${heading}${unit !== '' && unit !== heading && html`<small>${unit}</small>`}</th>`)}</tr></thead>
<tbody>${table.rows
    .slice(0, MOST_TABLE_ROWS)
    .map(
      (row) => html`<tr>${row.map((cell, column) => html`<td${align(column)}>${cellText(cell)}</td>`)}</tr>`,
    )}</tbody></table></div></details>`;
}

/** The tables that the passes of a step left, by name, one per seed. */
export function tablesOf(step: StepSummary): ReadonlyMap<string, readonly SeedTable[]> {
  const tables = new Map<string, SeedTable[]>();
  for (const [index, { pass }] of step.results.entries())
    for (const [name, table] of Object.entries(pass.tables ?? {})) {
      const list = tables.get(name) ?? [];
      list.push({ seed: step.seeds[index]?.seed ?? index, table });
      tables.set(name, list);
    }
  return tables;
}

function tableParts(drawing: Drawing, step: StepSummary): Html[] {
  return [...tablesOf(step)].map(([name, tables]) => {
    const [first] = tables;
    if (first === undefined) return html``;
    const note = tables.length > 1 ? ` Seed ${first.seed}.` : '';
    const plots = name === 'epochs' ? [] : tablePlots(drawing, tables, { step: step.name });
    return html`${plots.length > 0 && html`<div class="figures">${plots}</div>`}${dataTable(first.table, `${name} of ${step.name}`, note)}`;
  });
}

function weightsPart(
  drawing: Drawing,
  step: StepSummary,
  summary: RunSummary,
  report: RunReport,
): Html | undefined {
  const parent = parentOf(step, summary);
  const [seed] = report.seeds;
  const own = step.results[0]?.weights ?? [];
  if (parent === undefined || seed === undefined) return undefined;
  const earlier =
    parent.name === ORIGINAL ? seed.original.weights : (parent.results[0]?.weights ?? seed.original.weights);
  const figures = histogramFigures(
    drawing,
    {
      before: { name: parent.name, weights: earlier },
      after: { name: step.name, weights: own },
      seed: step.results.length > 1 ? step.seeds[0]?.seed : undefined,
    },
    MOST_LAYERS,
  );
  return figures === undefined
    ? undefined
    : html`<details><summary>Weights of the largest layers, before and after</summary>${figures}</details>`;
}

function stepPart(drawing: Drawing, index: number, summary: RunSummary, report: RunReport): Html | undefined {
  const step = summary.steps[index];
  const first = step?.results[0];
  if (step === undefined || first === undefined) return undefined;
  const { applied, skipped } = first.pass;
  const gist = [
    counted(applied.length, 'change'),
    ...(skipped.length === 0 ? [] : [`${skipped.length} left alone`]),
  ];
  return html`<details id="${stepId(index)}"${step === summary.result && html` open`}>
<summary>${step.name} <span class="gist">${first.use}: ${gist.join(', ')}${step.failures.length > 0 && ', failed'}</span></summary>
<div class="details-body">${step.failures.map((failure) => html`<p class="failure">Failed: ${failure}</p>`)}
${stepFacts(step, first)}
${step.results.length > 1 && html`<p class="note">Checks, figures, changes and what was left alone are those of seed ${step.seeds[0]?.seed ?? 0}.</p>`}
${seedTable(step, report, summary)}
<h3>Options</h3><pre>${optionsText(first.pass.options)}</pre>
${figuresTable(first.pass)}
${skippedList(skipped)}
${tableParts(drawing, step)}
${weightsPart(drawing, step, summary, report)}
${appliedList(applied)}
</div></details>`;
}

/** What each step did: a foldable part each, that of the result open. */
export function stepDetails(drawing: Drawing, report: RunReport, summary: RunSummary): Html {
  return html`${summary.steps.map((_, index) => stepPart(drawing, index, summary, report))}`;
}
