import { formatBytes, formatCount, formatTable } from '../terminal/format.ts';
import type { PlanSummary } from './plan-summary.ts';

/** The plan of a recipe for people. */
export function printPlan(plan: PlanSummary): string {
  const { target, model, seeds } = plan;
  const threads = `${target.threads} thread${target.threads === 1 ? '' : 's'}`;
  const size = model.bytes === null ? '' : `${formatBytes(model.bytes)}, `;
  const data = Object.entries(plan.data).map(
    ([name, { source, samples }]) =>
      [`${name} data`, `${source}${samples === undefined ? '' : `, ${samples} samples`}`] as const,
  );
  const facts: readonly (readonly [string, string])[] = [
    ['target', `${target.name}, ${threads}, batch ${target.batches.join(' and ')}`],
    [
      'model',
      `${model.source}: ${size}${formatCount(model.parameters)} weights, ${formatCount(model.macs)} MACs a sample`,
    ],
    ...data,
    ...(plan.metric === null
      ? []
      : [['metric', `accuracy of "${plan.metric.output}" against "${plan.metric.label}"`] as const]),
    [`seed${seeds.length === 1 ? '' : 's'}`, seeds.join(', ')],
    ['baseline', plan.baseline],
    ['result', plan.output === null ? plan.result : `${plan.result}, to ${plan.output}`],
    ['run folder', plan.runFolder],
  ];
  const rows = plan.steps.map((step, index) => [
    `${index + 1}`,
    `${step.name}${step.control ? ' (control)' : ''}`,
    step.from,
    step.use,
    step.needs.join(', '),
    there(step.there, seeds),
  ]);
  return [
    `${plan.name}: nothing was run, nothing was written.`,
    '',
    formatTable(facts.map(([name, text]) => [name, text])),
    '',
    ...(plan.metric?.warnings ?? []).flatMap((warning) => [`warning: ${warning}`, '']),
    formatTable([['', 'step', 'from', 'pass', 'needs', 'result is there'], ...rows]),
    '',
  ].join('\n');
}

function there(found: readonly number[], seeds: readonly number[]): string {
  if (found.length === 0) return 'no';
  return found.length === seeds.length ? 'yes' : `seed ${found.join(', ')}`;
}
