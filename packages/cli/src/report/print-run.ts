import { formatBytes, formatCount, formatRatio, formatTable } from '../terminal/format.ts';
import { groupSkips } from '../terminal/skips.ts';
import { whatDidNotPay } from './findings.ts';
import type { RunReport } from './run-report.ts';
import { compareSteps, type RunSummary, type StepSummary, summarizeRun } from './run-summary.ts';
import { counted, latencyWords, metricWords, plainText, speedupWords } from './run-words.ts';

const NOTHING = '–';

/** What the run was: model, runtime, data, seeds. */
function headLines(report: RunReport): string[] {
  const { target, data, seeds } = report;
  const controls = seeds.some(({ steps }) => steps.some(({ control }) => control));
  const samples =
    data.test === null
      ? ''
      : `, ${report.metric ?? 'metric'} on ${counted(data.test.samples, 'sample')} of ${data.test.source}`;
  const several = seeds.length > 1;
  return [
    `${report.name} → ${report.output ?? '(nothing written)'}`,
    `for ${target.name} (${target.runtime}, ${counted(target.threads, 'thread')})${samples}${several ? '' : `, seed ${seeds[0]?.seed ?? NOTHING}`}`,
    `compared with "${report.baseline}"${controls ? '; ° marks a control' : ''}`,
    ...(several
      ? [
          `${counted(seeds.length, 'seed')}: mean ± standard deviation; of ratios the geometric mean and the span of intervals`,
        ]
      : []),
  ];
}

function stepCells(step: StepSummary, report: RunReport, summary: RunSummary): string[] {
  const words = metricWords(report);
  const { smaller, fewerMacs, gain, speedups } = compareSteps(step, summary.baseline);
  const isBaseline = step === summary.baseline;
  const latency = summary.batches.flatMap((batch) => {
    const own = speedups.find((one) => one.batch === batch);
    const original = summary.originalMilliseconds.get(batch);
    const fromOriginal = compareSteps(step, summary.steps[0] ?? step).speedups.find(
      (one) => one.batch === batch,
    );
    return [
      original === undefined || fromOriginal === undefined
        ? NOTHING
        : latencyWords(original, fromOriginal.ratio),
      own === undefined ? NOTHING : speedupWords(own),
    ];
  });
  return [
    `${step === summary.result ? '▸ ' : '  '}${step.name}${step.control ? '°' : ''}`,
    ...(report.metric === null
      ? []
      : [
          step.metric === undefined ? NOTHING : words.value(step.metric),
          gain === undefined || isBaseline ? NOTHING : words.change(gain),
        ]),
    step.bytes === undefined ? NOTHING : formatBytes(step.bytes.mean),
    smaller === undefined ? NOTHING : formatRatio(smaller),
    step.macs === undefined ? NOTHING : formatCount(step.macs.mean),
    fewerMacs === undefined ? NOTHING : formatRatio(fewerMacs),
    ...latency,
  ];
}

function stepTable(report: RunReport, summary: RunSummary): string {
  const head = [
    '  step',
    ...(report.metric === null ? [] : [report.metric, 'change']),
    'size',
    'smaller',
    'MACs',
    'fewer',
    ...summary.batches.flatMap((batch) => [`batch ${batch}`, 'speedup (95 %)']),
  ];
  const rows = summary.steps.map((step) => stepCells(step, report, summary));
  return formatTable(
    [head, ...rows],
    head.map((_, index) => index).filter((index) => index > 0),
  );
}

function skipLines(summary: RunSummary): string[] {
  return summary.steps.flatMap(({ name, results }) => {
    const skipped = results[0]?.pass.skipped ?? [];
    if (skipped.length === 0) return [];
    const groups = groupSkips(skipped);
    return [
      `  ${name}: ${counted(skipped.length, 'place')}`,
      ...groups.slice(0, 3).map(({ text, count }) => `    ${count} x ${text}`),
      ...(groups.length > 3 ? [`    and ${counted(groups.length - 3, 'more reason')}`] : []),
    ];
  });
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}

/** A recipe's run as text: the table of steps, the limits, what did not pay, and what was left alone. */
export function printRun(report: RunReport): string {
  const summary = summarizeRun(report);
  const limits = report.limits.map(
    ({ limit, measured, met }) => `  ${met ? '✔' : '✘'} ${limit}: ${measured}${met ? '' : ', not met'}`,
  );
  const costs = whatDidNotPay(report, summary).map(({ step, text }) => `  "${step}" ${text}`);
  const resumed = report.seeds.reduce(
    (count, { steps }) => count + steps.filter((step) => step.resumed).length,
    0,
  );
  const lines = [
    ...headLines(report),
    '',
    stepTable(report, summary),
    ...section('limits', limits),
    ...section('what did not pay', costs),
    ...section('left alone', skipLines(summary)),
    ...section(
      'warnings',
      report.warnings.map((warning) => `  ${warning}`),
    ),
    ...(resumed === 0 ? [] : ['', `${counted(resumed, 'step')} taken over from an earlier run`]),
    '',
  ];
  return lines.map(plainText).join('\n');
}
