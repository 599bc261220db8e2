import * as planner from '@changesets/get-release-plan';
import { conclude, root } from './lib/sources.ts';

/** The part of a release plan that is looked at here. */
interface ReleasePlan {
  readonly changesets: readonly {
    readonly id: string;
    readonly summary: string;
    readonly releases: readonly { readonly type: string }[];
  }[];
  readonly releases: readonly {
    readonly name: string;
    readonly oldVersion: string;
    readonly newVersion: string;
  }[];
}

/** What is wrong with a release plan, as sentences. */
export function planProblems(plan: ReleasePlan): readonly string[] {
  const problems: string[] = [];
  const breaking = plan.changesets.some((one) => one.releases.some((release) => release.type === 'major'));
  for (const { id, summary } of plan.changesets) {
    if (summary.trim().length < 20)
      problems.push(`.changeset/${id}.md says too little for the people who will read it.`);
  }
  for (const { name, oldVersion, newVersion } of plan.releases) {
    if (!breaking && oldVersion.split('.')[0] !== newVersion.split('.')[0]) {
      problems.push(`${name} would go from ${oldVersion} to ${newVersion}, and no changeset is a break.`);
    }
  }
  return problems;
}

// The planner is CommonJS: depending on who loads it, its function is the default export or a member of that.
const exported: unknown = planner.default;
const getReleasePlan = (
  typeof exported === 'function' ? exported : (exported as { default: unknown }).default
) as (folder: string) => Promise<ReleasePlan>;

/** Makes the release plan of the waiting changesets: they must parse, name real packages, and not leap to 1.0. */
export async function main(): Promise<number> {
  try {
    return conclude('Changesets', planProblems(await getReleasePlan(root)));
  } catch (error) {
    return conclude('Changesets', [`.changeset: ${error instanceof Error ? error.message : String(error)}`]);
  }
}
