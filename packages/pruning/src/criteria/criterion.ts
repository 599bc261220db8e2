import type { Backend, Dataset, Model, OpSet, RunContext } from '@lithe/core';
import type { PruningGroup } from '../structured/pruning-group.ts';

/** What a criterion works with. */
export interface CriterionContext extends RunContext {
  /**
   * The model that the groups were found in, shapes inferred, vectors not shared between nodes. Not to be changed.
   */
  readonly model: Model;
  /** Runs models. Present when the criterion lists `backend` under `needs`. */
  readonly backend: Backend | undefined;
  /** Real inputs. Present when the criterion lists `data` under `needs`. */
  readonly data: Dataset | undefined;
  /** Operators that are known. */
  readonly opset: OpSet;
}

/** What a criterion may need beyond the weights. */
export type CriterionNeed = 'data' | 'backend';

/**
 * Says how much each unit of each group matters: a value, so third parties write their own. The larger a number, the
 * more the unit matters; within a group numbers must be comparable, and for a global ranking between groups as well.
 */
export interface Criterion {
  /** Name, for reports. */
  readonly name: string;
  /** What it needs from the context. */
  readonly needs: readonly CriterionNeed[];
  /**
   * Scores the units of groups.
   *
   * @returns for each group a number per unit; `undefined` for a group that the criterion says nothing about, which is
   *   then left whole
   */
  score(
    groups: readonly PruningGroup[],
    context: CriterionContext,
  ): Promise<readonly (Float64Array | undefined)[]>;
}
