import type { CandidateResult, CompressReport } from '../../compress/report.ts';
import { isSlower, mayBeSlower, refusalOf } from '../../compress/select.ts';
import { formatBytes, formatMilliseconds, formatNumber, formatRatio } from '../../terminal/format.ts';
import { groupSkips } from '../../terminal/skips.ts';
import { counted, signed } from '../run-words.ts';
import { type Drawing, openDrawing } from './drawing.ts';
import { type Html, html } from './markup.ts';
import { sizeTile, speedTile, tile, warningList } from './overview.ts';
import { type PageSection, pageDocument } from './page.ts';
import { symbolLegend, type TradeOff, type TradeOffPoint, tradeOffPlot } from './trade-off-plot.ts';

/** Signal to noise ratios above this are drawn at it: such outputs are equal but for rounding. */
const EXACT_DB = 60;

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function tiles({ size, latency, drift, accuracy }: CompressReport): Html {
  const { speedup: ratio, interval, beforeMs, afterMs } = latency;
  return html`<dl class="tiles">${sizeTile(size.ratio, `${formatBytes(size.before)} → ${formatBytes(size.after)}`)}${speedTile(
    'speed',
    { ratio, interval },
    `${formatMilliseconds(beforeMs)} → ${formatMilliseconds(afterMs)}`,
  )}${
    accuracy !== undefined &&
    tile(
      accuracy.metric,
      `${signed((accuracy.after - accuracy.before) * 100, 2)} points`,
      `${percent(accuracy.before)} → ${percent(accuracy.after)}`,
    )
  }${tile(
    'outputs',
    `${formatNumber(drift.sqnrDb)} dB`,
    drift.top1Agreement === undefined
      ? 'signal to noise'
      : `same best class in ${percent(drift.top1Agreement)}`,
  )}</dl>`;
}

function candidateRow(result: CandidateResult, withAccuracy: boolean): Html {
  const { size, latency, drift, accuracy, chosen } = result;
  const cell = (main: string | undefined, below?: string | false): Html =>
    html`<td class="number">${main ?? '–'}${below !== undefined && html`<small>${below}</small>`}</td>`;
  const interval =
    latency && `${formatRatio(latency.speedup)} (${latency.interval.map((end) => end.toFixed(2)).join('–')})`;
  return html`<tr${chosen && html` class="is-result"`}><th scope="row">${result.name}${chosen && html` <span class="tag result">chosen</span>`}<small>${result.summary}</small></th>${cell(size && formatBytes(size.after), size && formatRatio(size.ratio))}${cell(latency && formatMilliseconds(latency.afterMs), interval)}${cell(drift && `${formatNumber(drift.sqnrDb)} dB`, drift?.top1Agreement !== undefined && percent(drift.top1Agreement))}${withAccuracy && cell(accuracy && percent(accuracy.after), accuracy && `${signed((accuracy.after - accuracy.before) * 100, 2)} points`)}<td>${chosen ? 'chosen' : (result.reason ?? result.failure ?? '')}</td></tr>`;
}

function candidateTable(report: CompressReport): Html {
  const { accuracy, candidates } = report;
  return html`<p class="note" id="candidates-note">Under size and latency, how a candidate stands to the original, which it was measured in turns with; under the signal to noise ratio, the share of predictions with the same best class.</p>
<div class="scroll" role="region" aria-label="Table of candidates" tabindex="0"><table class="steps" aria-describedby="candidates-note"><thead><tr><th scope="col">candidate</th><th scope="col" class="number">size</th><th scope="col" class="number">latency</th><th scope="col" class="number"><abbr title="signal to noise ratio of the outputs">SQNR</abbr></th>${accuracy !== undefined && html`<th scope="col" class="number">${accuracy.metric}</th>`}<th scope="col">verdict</th></tr></thead><tbody>${candidates.map((result) => candidateRow(result, accuracy !== undefined))}</tbody></table></div>`;
}

function figureOf(drawing: Drawing, trade: Omit<TradeOff, 'label' | 'path'>): Html {
  const { points, valueName, costName, formatValue, formatCost } = trade;
  if (points.length === 0) return html``;
  const told = points.map(({ name, value, cost }) => `${name} ${formatValue(value)} at ${formatCost(cost)}`);
  const svg = tradeOffPlot(drawing, {
    ...trade,
    label: `${valueName} against ${costName}: ${told.join('; ')}`,
    path: [],
  });
  return html`<figure class="trade-off">${svg}<figcaption>${valueName.slice(0, 1).toUpperCase()}${valueName.slice(1)} against ${costName}</figcaption></figure>`;
}

function plots(drawing: Drawing, report: CompressReport): Html {
  const { size, latency, accuracy, candidates, objective, limits } = report;
  const roleOf = (result: CandidateResult): TradeOffPoint['role'] =>
    result.chosen ? 'result' : refusalOf(result, objective, limits) === undefined ? 'step' : 'control';
  const points = (
    worth: (result: CandidateResult) => number | undefined,
    original: number | undefined,
  ): TradeOffPoint[] => [
    ...(original === undefined
      ? []
      : [{ name: 'original', role: 'baseline' as const, cost: size.before, value: original, seeds: [] }]),
    ...candidates.flatMap((result) => {
      const value = worth(result);
      return value === undefined || result.size === undefined
        ? []
        : [{ name: result.name, role: roleOf(result), cost: result.size.after, value, seeds: [] }];
    }),
  ];
  const cost = { costName: 'size of the file', formatCost: formatBytes };
  const milliseconds = { formatValue: formatMilliseconds, briefValue: formatMilliseconds };
  const share = (value: number): string => `${Number((value * 100).toFixed(2))} %`;
  const decibels = (value: number): string =>
    value >= EXACT_DB ? `≥ ${EXACT_DB} dB` : `${formatNumber(value)} dB`;
  const fast = figureOf(drawing, {
    ...cost,
    ...milliseconds,
    points: points((result) => result.latency && latency.beforeMs / result.latency.speedup, latency.beforeMs),
    valueName: 'latency',
    valueScale: 'amount',
  });
  const good =
    accuracy === undefined
      ? figureOf(drawing, {
          ...cost,
          points: points((result) => result.drift && Math.min(EXACT_DB, result.drift.sqnrDb), undefined),
          valueName: 'signal to noise ratio',
          formatValue: decibels,
          briefValue: decibels,
          valueScale: 'amount',
        })
      : figureOf(drawing, {
          ...cost,
          points: points((result) => result.accuracy?.after, accuracy.before),
          valueName: accuracy.metric,
          formatValue: share,
          briefValue: share,
          valueScale: 'metric',
        });
  const legend = symbolLegend(
    drawing,
    {
      result: 'chosen',
      baseline: 'the original',
      step: 'inside the limits',
      control: 'outside the limits, or slower',
    },
    ['Smaller is to the left. Less latency is better; more of the other.'],
  );
  return html`<div class="figures">${fast}${good}${legend}</div>`;
}

/** Why a candidate was not chosen, in a word or two. */
function verdictOf(result: CandidateResult, { objective, limits }: CompressReport): string {
  if (result.failure !== undefined) return 'no result';
  if (result.latency !== undefined && mayBeSlower(result.latency))
    return isSlower(result.latency) ? 'slower' : 'may be slower';
  if (result.size !== undefined && result.size.ratio < 1) return 'larger';
  return refusalOf(result, objective, limits) === undefined ? 'not as good' : 'outside the limits';
}

function losers(report: CompressReport): Html {
  const lost = report.candidates.filter(({ chosen }) => !chosen);
  return html`<ul class="findings">${lost.map(
    (result) =>
      html`<li><span class="tag">${verdictOf(result, report)}</span> <strong>${result.name}</strong>: ${result.failure ?? result.reason ?? 'another candidate was better'}</li>`,
  )}${report.notTried.map(
    ({ name, reason }) =>
      html`<li><span class="tag">not tried</span> <strong>${name}</strong>: ${reason}</li>`,
  )}</ul>`;
}

function passDetails({ candidates }: CompressReport): Html {
  return html`${candidates.map(
    ({ name, passes, chosen }) =>
      html`<details${chosen && html` open`}><summary>${name} <span class="gist">${passes.length === 1 ? '1 pass' : `${passes.length} passes`}</span></summary><div class="details-body">${passes.map(
        ({ pass, applied, skipped }) =>
          html`<h3><code>${pass}</code></h3><p>${counted(applied, 'change')}${skipped.length > 0 && `, ${counted(skipped.length, 'place')} left alone:`}</p>${
            skipped.length > 0 &&
            html`<ul>${groupSkips(skipped).map(({ text, count }) => html`<li>${count} × ${text}</li>`)}</ul>`
          }`,
      )}</div></details>`,
  )}`;
}

function setting(report: CompressReport): Html {
  const { target, data, limits, objective, accuracy } = report;
  const rows: readonly (readonly [string, string])[] = [
    ['model', report.model],
    ['written to', report.output ?? 'nothing was written'],
    ['target', `${target.name}: ${target.runtime}, ${counted(target.threads, 'thread')}`],
    ['objective', objective],
    [
      'limit',
      accuracy === undefined
        ? `outputs at ${formatNumber(limits.minSqnrDb)} dB or better`
        : `${accuracy.metric} falls by at most ${formatNumber(limits.maxDrop * 100)} points`,
    ],
    [
      'inputs',
      `${counted(data.samples, 'sample')} of ${data.source}${data.random ? ', which are made up' : ''}`,
    ],
  ];
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** A compression as one HTML page that needs nothing else: no network, no other file. */
export async function htmlCompression(report: CompressReport): Promise<string> {
  const drawing = await openDrawing();
  const sections: readonly PageSection[] = [
    { id: 'trade-offs', title: 'What each candidate costs and is worth', body: plots(drawing, report) },
    { id: 'candidates', title: 'Candidates', body: candidateTable(report) },
    { id: 'costs', title: 'What did not pay, and why', body: losers(report) },
    { id: 'passes', title: 'What was done', body: passDetails(report) },
    { id: 'setting', title: 'Where and on what', body: setting(report) },
  ];
  const name = report.model.split(/[\\/]/).at(-1) ?? report.model;
  return pageDocument({
    title: `${name}: compression`,
    header: html`<h1>${name}</h1>
<p class="meta">${report.target.name}, ${report.target.runtime}, ${counted(report.target.threads, 'thread')} · objective ${report.objective}</p>
<p class="verdict">Chosen: <strong>${report.chosen}</strong>.</p>${tiles(report)}${warningList(report.warnings)}`,
    sections,
    footer: html`<p>Made by Lithe.</p>`,
  });
}
