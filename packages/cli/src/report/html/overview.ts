import { formatBytes, formatCount, formatRatio } from '../../terminal/format.ts';
import { compareWithControls } from '../controls.ts';
import { type Finding, whatDidNotPay } from '../findings.ts';
import type { RunReport } from '../run-report.ts';
import { compareSteps, ORIGINAL, type RunSummary, type Speedup } from '../run-summary.ts';
import { counted, latencyWords, listed, metricWords } from '../run-words.ts';
import { type Html, html, type Part } from './markup.ts';

/** A figure that stands out, with its name and where it comes from. */
export function tile(name: string, figure: Part, below: Part): Html {
  return html`<div class="tile"><dt>${name}</dt><dd><div class="figure">${figure}</div><div class="from">${below}</div></dd></div>`;
}

/** How many times smaller a file became, or larger. */
export function sizeTile(ratio: number, below: Part): Html {
  return tile(
    'size',
    ratio < 1 ? `${formatRatio(1 / ratio)} larger` : `${formatRatio(ratio)} smaller`,
    below,
  );
}

/**
 * How many times as fast a model became, or slower; the 95 % interval is that of the number above it, the span of those of
 * all seeds where there are `values` of several.
 */
export function speedTile(
  name: string,
  { ratio, interval: [low, high], values = [] }: Pick<Speedup, 'ratio' | 'interval'> & Partial<Speedup>,
  times: string,
): Html {
  const slower = ratio < 1;
  const [least, most] = slower ? [1 / high, 1 / low] : [low, high];
  return tile(
    name,
    slower ? `${formatRatio(1 / ratio)} slower` : `${formatRatio(ratio)} as fast`,
    html`${times !== '' && html`${times}<br>`}95 %${values.length > 1 && ` of all ${values.length} seeds`}: ${least.toFixed(2)} to ${most.toFixed(2)}`,
  );
}

/** What came out, in figures: the result beside the baseline. */
export function resultTiles(report: RunReport, summary: RunSummary): Html {
  const { baseline, result } = summary;
  const words = metricWords(report);
  const comparison = compareSteps(result, baseline);
  const [original] = summary.steps;
  const tiles: Html[] = [];
  if (result.bytes !== undefined && comparison.smaller !== undefined) {
    const from =
      baseline.bytes === undefined
        ? ''
        : `${formatBytes(baseline.bytes.mean)} → ${formatBytes(result.bytes.mean)}`;
    tiles.push(sizeTile(comparison.smaller, from));
  }
  for (const speedup of comparison.speedups) {
    const { batch } = speedup;
    const milliseconds = summary.originalMilliseconds.get(batch);
    const at = (step: typeof result): number =>
      compareSteps(step, original ?? step).speedups.find((one) => one.batch === batch)?.ratio ?? Number.NaN;
    const times =
      milliseconds === undefined
        ? ''
        : `${latencyWords(milliseconds, at(baseline))} → ${latencyWords(milliseconds, at(result))}`;
    tiles.push(speedTile(`speed at batch ${batch}`, speedup, times));
  }
  if (comparison.gain !== undefined && baseline.metric !== undefined && result.metric !== undefined)
    tiles.push(
      tile(
        report.metric ?? 'metric',
        words.change({ mean: comparison.gain.mean, values: [] }),
        `${words.value(baseline.metric)} → ${words.value(result.metric)}`,
      ),
    );
  if (comparison.fewerMacs !== undefined && baseline.macs !== undefined && result.macs !== undefined)
    tiles.push(
      tile(
        'multiplications',
        html`${formatRatio(comparison.fewerMacs)} fewer`,
        `${formatCount(baseline.macs.mean)} → ${formatCount(result.macs.mean)}`,
      ),
    );
  return html`<dl class="tiles">${tiles}</dl>`;
}

/** Warnings in a box; nothing when there are none. */
export function warningList(warnings: readonly string[]): Html | undefined {
  if (warnings.length === 0) return undefined;
  return html`<div class="callout" role="note" aria-label="Warnings"><strong>${counted(warnings.length, 'warning')}</strong><ul>${warnings.map((warning) => html`<li>${warning}</li>`)}</ul></div>`;
}

/** The run in a sentence or two. */
export function verdict(report: RunReport, summary: RunSummary): Html {
  const unmet = report.limits.filter(({ met }) => !met).length;
  const limits =
    report.limits.length === 0
      ? html`The recipe set no limits.`
      : unmet === 0
        ? html`<span class="met">✔ All ${counted(report.limits.length, 'limit')} met.</span>`
        : html`<span class="unmet">✘ ${unmet} of ${counted(report.limits.length, 'limit')} not met.</span>`;
  const failed = summary.steps.filter(({ failures }) => failures.length > 0).map(({ name }) => `"${name}"`);
  const came =
    summary.result === summary.baseline
      ? html`The result is the baseline itself, <strong>${summary.result.name}</strong>.`
      : html`The result is <strong>${summary.result.name}</strong>, beside the baseline <strong>${summary.baseline.name}</strong>.`;
  return html`<p class="verdict">${limits} ${came}${failed.length > 0 && html` <span class="failure">${listed(failed)} failed.</span>`}</p>`;
}

/** Limits and how the result stands to them. */
export function limitTable(report: RunReport): Html | undefined {
  if (report.limits.length === 0) return undefined;
  return html`<div class="scroll" role="region" aria-label="Table of limits" tabindex="0"><table class="short narrow"><thead><tr><th scope="col">limit</th><th scope="col">measured</th><th scope="col">verdict</th></tr></thead><tbody>${report.limits.map(
    ({ limit, measured, met }) =>
      html`<tr><th scope="row">${limit}</th><td>${measured}</td><td>${met ? html`<span class="met">✔ met</span>` : html`<span class="unmet">✘ not met</span>`}</td></tr>`,
  )}</tbody></table></div>`;
}

const kinds: Readonly<Record<Finding['kind'], string>> = {
  failed: 'failed',
  larger: 'larger',
  slower: 'slower',
  worse: 'lost',
  nothing: 'no gain',
};

/** What did not pay, each with what it cost. */
export function costList(report: RunReport, summary: RunSummary): Html {
  const findings = whatDidNotPay(report, summary);
  const measured = [report.metric, 'size', ...(summary.batches.length > 0 ? ['latency'] : [])].filter(
    (name) => name !== null,
  );
  if (findings.length === 0)
    return html`<p>Every step paid: none failed, and none lost in ${listed(measured)} against the step it came from.</p>`;
  return html`<p class="note">Each step is compared with the one it came from; controls are not judged. A step is called slower when the whole 95 % interval of its speedup lies below 1.</p>
<ul class="findings">${findings.map(
    ({ step, kind, text }) =>
      html`<li><span class="tag">${kinds[kind]}</span> <strong>${step}</strong> ${text}.</li>`,
  )}</ul>`;
}

/** Steps beside the controls that started from the same model. */
export function controlTable(report: RunReport, summary: RunSummary): Html | undefined {
  const comparisons = compareWithControls(report, summary);
  if (comparisons.length === 0) return undefined;
  return html`<p class="note" id="controls-note">Difference of ${report.metric ?? 'the metric'} to controls that started from the same model${report.seeds.length > 1 && ', paired by seed: mean ± standard deviation'}.</p>
<div class="scroll" role="region" aria-label="Table of controls" tabindex="0"><table class="short" aria-describedby="controls-note">
<thead><tr><th scope="col">step</th><th scope="col">beside the control</th><th scope="col">difference</th><th scope="col">more than the seeds spread</th></tr></thead>
<tbody>${comparisons.map(
    ({ step, control, text, beyondNoise }) =>
      html`<tr><th scope="row">${step}</th><td>${control}</td><td>${text}</td><td>${beyondNoise === undefined ? 'unknown with one seed' : beyondNoise ? 'yes' : 'no'}</td></tr>`,
  )}</tbody></table></div>`;
}

/** A date and time of a report, to the minute; what is none stays as it is. */
export function dateText(date: string): string {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(date)
    ? `${date.slice(0, 10)} ${date.slice(11, 16)} UTC`
    : date;
}

/** Where and on what it ran. */
export function setting(report: RunReport): Html {
  const { target, data } = report;
  const source = (part: typeof data.test, none: string): string =>
    part === null ? none : `${counted(part.samples, 'sample')} of ${part.source}`;
  const scored =
    report.scored === undefined ? '' : `of "${report.scored.output}" against "${report.scored.label}" `;
  const rows: readonly (readonly [string, string])[] = [
    ['target', `${target.name}: ${target.runtime}, ${counted(target.threads, 'thread')}`],
    ['machine', target.machine],
    ['date', dateText(report.date)],
    ['trained on', source(data.train, 'nothing was trained')],
    [
      'metric',
      data.test === null
        ? 'none: no labelled data'
        : `${report.metric ?? 'none'} ${scored}on ${source(data.test, '')}`,
    ],
    ['seeds', report.seeds.map(({ seed }) => seed).join(', ')],
    ['baseline', report.baseline === ORIGINAL ? 'the model of the recipe' : report.baseline],
    ['written to', report.output ?? 'nothing was written'],
  ];
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
