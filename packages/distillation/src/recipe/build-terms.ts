import { errors, type Model } from '@lithe/core';
import { scoresOf } from '@lithe/training';
import type { DistillationTerm } from '../distillation.ts';
import { contrastiveDistillation } from '../losses/contrastive.ts';
import { correlationDistillation } from '../losses/correlation.ts';
import type { DistillationLoss } from '../losses/distillation-loss.ts';
import { attentionTransfer, hintDistillation, similarityPreserving } from '../losses/features.ts';
import { decoupledDistillation, logitDistillation } from '../losses/logits.ts';
import { relationalDistillation } from '../losses/relational.ts';
import {
  attentionDistillation,
  hiddenStateDistillation,
  relationDistillation,
} from '../losses/transformer.ts';
import { findTaps, suggestTaps } from '../taps.ts';
import type { TermSettings } from './term-options.ts';

/** What terms are made for. */
export interface TermSurroundings {
  /** The student; shapes inferred. */
  readonly student: Model;
  /** The teacher, or the first of several. */
  readonly teacher: Model;
  /** Samples that are trained on. */
  readonly samples: number;
  /** Name of the labels; `undefined` where there are none. */
  readonly labels: string | undefined;
}

/** Terms, and the values of the teacher that they look at. */
export interface BuiltTerms {
  /** One for each pair of values. */
  readonly terms: readonly DistillationTerm[];
  /** Names of values of the teacher. */
  readonly taps: readonly string[];
}

/**
 * The terms that options name. A term on features whose values are patterns becomes one for each pair, in the order they
 * are computed in.
 *
 * @throws {LitheError} OPTIONS_INVALID when values are not there or do not pair up, or a term needs labels
 */
export async function buildTerms(
  settings: readonly TermSettings[],
  surroundings: TermSurroundings,
): Promise<BuiltTerms> {
  const terms: DistillationTerm[] = [];
  const taps = new Set<string>();
  for (const setting of settings) {
    const pairs = await pairsOf(setting, surroundings);
    const { weight = 1, warmUp } = setting;
    for (const pair of pairs) {
      taps.add(pair.teacher);
      terms.push({ loss: lossFor(setting, pair, surroundings), weight: weight / pairs.length, warmUp });
    }
  }
  return { terms, taps: [...taps] };
}

/** Names of the values that a term compares. */
interface TapPair {
  readonly student: string;
  readonly teacher: string;
}

const onScores = new Set<TermSettings['loss']>(['logits', 'decoupled', 'correlation']);

async function pairsOf(
  setting: TermSettings,
  { student, teacher }: TermSurroundings,
): Promise<readonly TapPair[]> {
  const { loss } = setting;
  if (onScores.has(loss)) {
    const own = setting.student ?? scoresOf(student).name;
    return [{ student: own, teacher: setting.teacher ?? scoresOf(teacher).name }];
  }
  if (setting.student === undefined) {
    if (setting.teacher !== undefined)
      throw errors.optionsInvalid(`term "${loss}"`, [
        'It names a value of the teacher and none of the student.',
      ]);
    const found = await suggestTaps(student, teacher);
    if (found.length > 0)
      return found.map((pair) => ({ student: pair.student, teacher: pair.teacher ?? pair.student }));
    throw errors.optionsInvalid(
      `term "${loss}"`,
      ['No values of student and teacher have the same height and width, or length.'],
      'Name them: student and teacher.',
    );
  }
  const ours = findTaps(student, setting.student);
  const theirs = findTaps(teacher, setting.teacher ?? setting.student);
  if (ours.length !== theirs.length)
    throw errors.optionsInvalid(`term "${loss}"`, [
      `"${setting.student}" names ${ours.length} values of the student (${some(ours)}), and "${setting.teacher ?? setting.student}" ${theirs.length} of the teacher (${some(theirs)}).`,
    ]);
  return ours.map((name, index) => ({ student: name, teacher: theirs[index] as string }));
}

const some = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 4).join(', ')}, …` : names.join(', ');

function lossFor(
  setting: TermSettings,
  tap: TapPair,
  { samples, labels }: TermSurroundings,
): DistillationLoss {
  switch (setting.loss) {
    case 'logits':
      return logitDistillation({ ...setting, ...tap });
    case 'decoupled': {
      const target = setting.target ?? labels;
      if (target !== undefined && target === labels)
        return decoupledDistillation({ ...setting, ...tap, target });
      throw errors.optionsInvalid('term "decoupled"', [
        labels === undefined
          ? 'It needs labels (class numbers), and the samples have none.'
          : `It needs "${target}" of the samples, and the labels are "${labels}".`,
      ]);
    }
    case 'correlation':
      return correlationDistillation({ ...setting, ...tap });
    case 'hint':
      return hintDistillation({ ...setting, ...tap });
    case 'attention-transfer':
      return attentionTransfer({ ...setting, ...tap });
    case 'similarity':
      return similarityPreserving(tap);
    case 'relational':
      return relationalDistillation({ ...setting, ...tap });
    case 'contrastive':
      return contrastiveDistillation({ ...setting, ...tap, samples });
    case 'hidden-state':
      return hiddenStateDistillation({ ...setting, ...tap });
    case 'attention':
      return attentionDistillation(tap);
    case 'relation':
      return relationDistillation({ ...setting, ...tap });
  }
}
