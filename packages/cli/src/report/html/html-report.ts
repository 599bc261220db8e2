import type { RunReport } from '../run-report.ts';
import { ORIGINAL, type RunSummary, summarizeRun } from '../run-summary.ts';
import { counted } from '../run-words.ts';
import { type Drawing, openDrawing } from './drawing.ts';
import { histogramFigures } from './histograms.ts';
import { type Html, html } from './markup.ts';
import {
  controlTable,
  costList,
  dateText,
  limitTable,
  resultTiles,
  setting,
  verdict,
  warningList,
} from './overview.ts';
import { type PageSection, pageDocument } from './page.ts';
import { stepDetails } from './step-details.ts';
import { stepTable } from './step-table.ts';
import { tradeOffs } from './trade-offs.ts';
import { trainingCurves } from './training-curves.ts';

/** Layers whose weights are drawn. */
const MOST_LAYERS = 48;

function weights(drawing: Drawing, report: RunReport, { baseline, result }: RunSummary): Html | undefined {
  const [seed] = report.seeds;
  const of = (name: string) =>
    name === ORIGINAL ? seed?.original.weights : seed?.steps.find((step) => step.name === name)?.weights;
  return histogramFigures(
    drawing,
    {
      before: { name: baseline.name, weights: baseline === result ? [] : (of(baseline.name) ?? []) },
      after: { name: result.name, weights: of(result.name) ?? [] },
      seed: report.seeds.length > 1 ? seed?.seed : undefined,
    },
    MOST_LAYERS,
  );
}

/**
 * A recipe's run as one HTML page that needs nothing else: no network, no other file. The same report gives the same
 * page.
 *
 * @returns the document
 * @throws {LitheError} `INTERNAL` when the baseline or the result is no step of the run
 */
export async function htmlReport(report: RunReport): Promise<string> {
  const summary = summarizeRun(report);
  const drawing = await openDrawing();
  const possible: readonly (Omit<PageSection, 'body'> & { readonly body: Html | undefined })[] = [
    { id: 'limits', title: 'Limits', body: limitTable(report) },
    {
      id: 'trade-offs',
      title: 'What each step costs and is worth',
      body: tradeOffs(drawing, report, summary),
    },
    { id: 'steps', title: 'Steps', body: stepTable(report, summary) },
    { id: 'costs', title: 'What did not pay', body: costList(report, summary) },
    { id: 'controls', title: 'Beside the controls', body: controlTable(report, summary) },
    { id: 'training', title: 'Training', body: trainingCurves(drawing, report, summary) },
    { id: 'weights', title: 'Weights by layer', body: weights(drawing, report, summary) },
    { id: 'details', title: 'Each step', body: stepDetails(drawing, report, summary) },
    { id: 'setting', title: 'Where and on what', body: setting(report) },
    { id: 'recipe', title: 'Recipe', body: html`<pre>${report.recipe}</pre>` },
  ];
  return pageDocument({
    title: `${report.name}: report`,
    header: html`<h1>${report.name}</h1>
<p class="meta">${report.target.name}, ${report.target.runtime}, ${counted(report.target.threads, 'thread')} · ${counted(report.seeds.length, 'seed')} · ${dateText(report.date)}</p>
${verdict(report, summary)}${resultTiles(report, summary)}${warningList(report.warnings)}`,
    sections: possible.flatMap(({ body, ...section }) => (body === undefined ? [] : [{ ...section, body }])),
    footer: html`<p>Made by Lithe on ${dateText(report.date)}, on ${report.target.machine}.</p>`,
  });
}
