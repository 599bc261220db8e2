import type { RunReport } from './run-report.ts';
import { compareSteps, type RunSummary, type StepSummary } from './run-summary.ts';
import { counted, metricWords } from './run-words.ts';

/** A step beside a control that started from the same model. */
export interface ControlComparison {
  /** Name of the step. */
  readonly step: string;
  /** Name of the control. */
  readonly control: string;
  /** How the step stands to the control: `+0.77 ± 0.10 points, better in 3 of 3 seeds`. */
  readonly text: string;
  /** Whether it is better by more than the seeds spread; `undefined` with fewer than two seeds. */
  readonly beyondNoise?: boolean | undefined;
}

/** Every step beside each control that started from the same model, by the metric and paired by seed. */
export function compareWithControls(report: RunReport, summary: RunSummary): readonly ControlComparison[] {
  const words = metricWords(report);
  const beside = (step: StepSummary, control: StepSummary): ControlComparison[] => {
    const { gain } = compareSteps(step, control);
    if (gain === undefined) return [];
    const better = gain.values.filter((value) => value > 0).length;
    const seeds =
      gain.values.length > 1 ? `, better in ${better} of ${counted(gain.values.length, 'seed')}` : '';
    const text = `${words.change(gain)}${seeds}`;
    const { mean, deviation } = gain;
    return [
      {
        step: step.name,
        control: control.name,
        text,
        ...(deviation === undefined ? {} : { beyondNoise: Math.abs(mean) > deviation }),
      },
    ];
  };
  return summary.steps
    .filter(({ control }) => control)
    .flatMap((control) =>
      summary.steps
        .filter((step) => !step.control && step.use !== null && step.from === control.from)
        .flatMap((step) => beside(step, control)),
    );
}
