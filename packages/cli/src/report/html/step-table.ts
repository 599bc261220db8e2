import { formatBytes, formatCount, formatRatio } from '../../terminal/format.ts';
import type { RunReport } from '../run-report.ts';
import { compareSteps, type RunSummary, type StepSummary } from '../run-summary.ts';
import { latencyWords, metricWords } from '../run-words.ts';
import { type Html, html, type Part } from './markup.ts';

const nothing = html`<span aria-label="unknown">–</span>`;

function figure(main: Part, below: Part): Html {
  return html`<td class="number">${main}${below === undefined ? '' : html`<small>${below}</small>`}</td>`;
}

/** Id of the details of a step; names may hold anything. */
export function stepId(index: number): string {
  return `step-${index}`;
}

function latencyCell(step: StepSummary, batch: number, summary: RunSummary): Html {
  const [original] = summary.steps;
  const milliseconds = summary.originalMilliseconds.get(batch);
  const beside = (other: StepSummary) =>
    compareSteps(step, other).speedups.find((one) => one.batch === batch);
  const raw = original === undefined ? undefined : beside(original);
  const speedup = beside(summary.baseline);
  if (milliseconds === undefined || raw === undefined) return figure(nothing, undefined);
  const [low, high] = speedup?.interval ?? [1, 1];
  return figure(
    latencyWords(milliseconds, raw.ratio),
    speedup === undefined
      ? undefined
      : html`${formatRatio(speedup.ratio)}${low === high ? '' : html` (${low.toFixed(2)}–${high.toFixed(2)})`}`,
  );
}

function stepRow(step: StepSummary, index: number, report: RunReport, summary: RunSummary): Html {
  const words = metricWords(report);
  const { smaller, fewerMacs, gain } = compareSteps(step, summary.baseline);
  const isBaseline = step === summary.baseline;
  const name = index === 0 ? html`original` : html`<a href="#${stepId(index)}">${step.name}</a>`;
  const tags = [
    step === summary.result && html` <span class="tag result">result</span>`,
    isBaseline && html` <span class="tag">baseline</span>`,
    step.control && html` <span class="tag">control</span>`,
  ];
  const origin =
    index === 0 ? 'the model of the recipe' : html`${step.use ?? ''} from ${step.from ?? 'original'}`;
  return html`<tr${step === summary.result ? html` class="is-result"` : ''}>
<th scope="row">${name}${tags}<small>${origin}</small>${step.failures.map(
    (failure) => html`<small class="failure">failed: ${failure}</small>`,
  )}</th>
${
  report.metric !== null &&
  figure(
    step.metric === undefined ? nothing : words.value(step.metric),
    gain === undefined || isBaseline ? undefined : words.change(gain),
  )
}${figure(
  step.bytes === undefined ? nothing : formatBytes(step.bytes.mean),
  smaller === undefined ? undefined : formatRatio(smaller),
)}${figure(
  step.macs === undefined ? nothing : formatCount(step.macs.mean),
  fewerMacs === undefined ? undefined : formatRatio(fewerMacs),
)}${summary.batches.map((batch) => latencyCell(step, batch, summary))}
</tr>`;
}

/** The table of steps: under each figure how it stands to the baseline. */
export function stepTable(report: RunReport, summary: RunSummary): Html {
  const several = report.seeds.length > 1;
  const spread = several
    ? ` Mean ± standard deviation of ${report.seeds.length} seeds; of ratios the geometric mean.`
    : '';
  const latency =
    summary.batches.length === 0
      ? ''
      : ` Latency: the median of the original divided by the speedup, which was measured in turns with it; with the 95 % interval of the speedup${several ? ', from the lowest end of any seed to the highest' : ''}.`;
  return html`<p class="note" id="steps-note">Under each figure, how it stands to the baseline "${summary.baseline.name}".${spread}${latency}</p>
<div class="scroll" role="region" aria-label="Table of steps" tabindex="0"><table class="steps" aria-describedby="steps-note">
<thead><tr><th scope="col">step</th>${report.metric !== null && html`<th scope="col" class="number">${report.metric}</th>`}<th scope="col" class="number">size</th><th scope="col" class="number"><abbr title="multiplications for one sample">MACs</abbr></th>${summary.batches.map(
    (batch) => html`<th scope="col" class="number">batch ${batch}</th>`,
  )}</tr></thead>
<tbody>
${summary.steps.map((step, index) => stepRow(step, index, report, summary))}
</tbody></table></div>`;
}
