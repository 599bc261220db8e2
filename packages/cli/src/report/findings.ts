import { isSlower } from '../compress/select.ts';
import { formatBytes, formatRatio } from '../terminal/format.ts';
import type { RunReport } from './run-report.ts';
import { type Comparison, compareSteps, ORIGINAL, type RunSummary, type StepSummary } from './run-summary.ts';
import { listed, metricWords, speedupWords } from './run-words.ts';

/** What a step cost instead of gaining. */
export type FindingKind = 'failed' | 'larger' | 'slower' | 'worse' | 'nothing';

/** Something that did not pay. */
export interface Finding {
  /** Name of the step. */
  readonly step: string;
  /** What it cost. */
  readonly kind: FindingKind;
  /** What was found, as a clause after the name of the step. */
  readonly text: string;
}

/** A share of bytes that a file may vary in without being called larger or smaller. */
const SIZE_NOISE = 0.005;
/** A loss of the metric that is not worth a word. */
const METRIC_NOISE = 0.0005;

/** The step that a step came from. */
export function parentOf(step: StepSummary, summary: RunSummary): StepSummary | undefined {
  if (step.name === ORIGINAL) return undefined;
  return summary.steps.find(({ name }) => name === (step.from ?? ORIGINAL));
}

/** A later step on the way to the result that is as good as `parent` again. */
function wonBackBy(step: StepSummary, parent: StepSummary, summary: RunSummary): StepSummary | undefined {
  const at = summary.path.indexOf(step);
  if (at < 0) return undefined;
  return summary.path
    .slice(at + 1)
    .find((later) => (compareSteps(later, parent).gain?.mean ?? Number.NEGATIVE_INFINITY) > -METRIC_NOISE);
}

function gains({ smaller, gain, speedups }: Comparison): boolean {
  return (
    (smaller ?? 1) > 1 + SIZE_NOISE ||
    (gain?.mean ?? 0) > METRIC_NOISE ||
    speedups.some(({ interval }) => interval[0] > 1)
  );
}

/** What a step cost against the one it came from. A measured speedup tells only by its whole interval. */
function costsOf(step: StepSummary, parent: StepSummary, report: RunReport, summary: RunSummary): Finding[] {
  const { name } = step;
  const comparison = compareSteps(step, parent);
  const { smaller, gain, speedups } = comparison;
  const found: Finding[] = [];
  const beside = parent.name === ORIGINAL ? 'the original' : `"${parent.name}"`;
  if (smaller !== undefined && smaller < 1 / (1 + SIZE_NOISE) && step.bytes !== undefined) {
    const text = `is ${formatRatio(1 / smaller)} as large as ${beside}: ${formatBytes(step.bytes.mean)}`;
    found.push({ step: name, kind: 'larger', text });
  }
  const slower = speedups.filter(isSlower);
  if (slower.length > 0) {
    const where = slower.map((speedup) => `${speedupWords(speedup)} at batch ${speedup.batch}`);
    found.push({ step: name, kind: 'slower', text: `is slower than ${beside}: ${listed(where)}` });
  }
  if (gain !== undefined && gain.mean <= -METRIC_NOISE) {
    const back = wonBackBy(step, parent, summary);
    const change = metricWords(report).change(gain).replace('−', '');
    const noise = gain.deviation !== undefined && -gain.mean < gain.deviation;
    const text = `lost ${change} of ${report.metric ?? 'the metric'} against ${beside}${
      noise ? ', less than the spread of the seeds' : ''
    }${back === undefined ? '' : `, which "${back.name}" won back`}`;
    found.push({ step: name, kind: 'worse', text });
  }
  // Without a metric nobody can tell what training gained.
  if (found.length === 0 && step.failures.length === 0 && gain !== undefined && !gains(comparison)) {
    const faster = speedups.length === 0 ? '' : ' nor measurably faster';
    const text = `is neither smaller${faster} nor better than ${beside}`;
    found.push({ step: name, kind: 'nothing', text });
  }
  return found;
}

/** What did not pay: steps that failed, grew, slowed down, lost of the metric, or gained nothing; controls are not judged. */
export function whatDidNotPay(report: RunReport, summary: RunSummary): readonly Finding[] {
  return summary.steps.flatMap((step) => {
    const failed = step.failures.map(
      (failure): Finding => ({ step: step.name, kind: 'failed', text: `failed: ${failure}` }),
    );
    const parent = parentOf(step, summary);
    if (parent === undefined || step.control) return failed;
    return [...failed, ...costsOf(step, parent, report, summary)];
  });
}
