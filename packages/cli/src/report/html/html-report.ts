import { whatDidNotPay } from '../findings.ts';
import type { RunReport } from '../run-report.ts';
import { summarizeRun } from '../run-summary.ts';
import { type Html, html } from './markup.ts';
import { pageDocument } from './page.ts';
import { stepTable } from './step-table.ts';

/**
 * A recipe's run as one HTML page that needs nothing else: no network, no other file.
 *
 * @returns the document
 * @throws {LitheError} `INTERNAL` when the baseline or the result is no step of the run
 */
export async function htmlReport(report: RunReport): Promise<string> {
  const summary = summarizeRun(report);
  const findings = whatDidNotPay(report, summary);
  const sections: { readonly id: string; readonly title: string; readonly body: Html }[] = [
    { id: 'steps', title: 'Steps', body: stepTable(report, summary) },
    {
      id: 'costs',
      title: 'What did not pay',
      body: html`<ul class="findings">${findings.map(({ step, text }) => html`<li><strong>${step}</strong> ${text}</li>`)}</ul>`,
    },
    { id: 'recipe', title: 'Recipe', body: html`<pre>${report.recipe}</pre>` },
  ];
  return pageDocument({
    title: `${report.name}: report`,
    sections,
    header: html`<h1>${report.name}</h1>`,
    body: sections.map(({ id, title, body }) => html`<section id="${id}"><h2>${title}</h2>${body}</section>`),
    footer: html`<p>Made by Lithe on ${report.date}.</p>`,
  });
}
