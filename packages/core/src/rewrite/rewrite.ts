import { errors } from '../errors/catalogue.ts';
import type { Graph } from '../ir/graph.ts';
import type { Node } from '../ir/node.ts';
import { Editor } from './editor.ts';
import type { RewriteRule } from './rule.ts';

/** Options of {@link rewrite}. */
export interface RewriteOptions {
  /** Most applications before it stops with an error; 1,000 plus 20 per node by default. */
  readonly maxApplications?: number | undefined;
  /** Whether the subgraphs of nodes are rewritten too; `true` by default. */
  readonly subgraphs?: boolean | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/** One application of a rule. */
export interface AppliedRule {
  /** The rule. */
  readonly rule: string;
  /** Name of the node it was applied at. */
  readonly node: string;
  /** What the rule said it did. */
  readonly what: string;
}

/** A place that a rule was meant for and could not treat. */
export interface SkippedRule {
  /** The rule. */
  readonly rule: string;
  /** Name of the node. */
  readonly node: string;
  /** Short stable code, such as `padded`. */
  readonly code: string;
  /** Why, as a clause. */
  readonly reason: string;
}

/** What {@link rewrite} did. */
export interface RewriteReport {
  /** Applications, in order. */
  readonly applied: readonly AppliedRule[];
  /** Places that a rule was meant for and could not treat, as they stand at the end. */
  readonly skipped: readonly SkippedRule[];
  /** Nodes visited: at most the nodes plus a bounded number per application. */
  readonly visits: number;
}

/**
 * Applies rules until none applies. Nodes are visited in topological order, at each the rules in the order of the
 * list; after an application only the nodes that it touched, and those that read them within the depth of the
 * rules, are visited again. So the cost is linear in nodes and applications, and the result is the same in each run.
 *
 * Edits the graph in place. New values have the types that rules give them; run shape inference to fill the rest.
 *
 * @param graph the graph, with its subgraphs
 * @param rules the rules, in order of precedence
 * @throws {LitheError} LIMIT_EXCEEDED when rules keep undoing each other
 * @throws {LitheError} INTERNAL when a rule says that it changed the graph and did not, or the other way round
 */
export async function rewrite(
  graph: Graph,
  rules: readonly RewriteRule[],
  options: RewriteOptions = {},
): Promise<RewriteReport> {
  return new Engine(graph, rules, options).run();
}

interface Anchored {
  readonly rules: readonly RewriteRule[];
  readonly depth: number;
}

class Engine {
  readonly #graph: Graph;
  readonly #options: RewriteOptions;
  readonly #editor: Editor;
  readonly #anchored: ReadonlyMap<string, Anchored>;
  readonly #everywhere: Anchored;
  readonly #depth: number;
  readonly #queue: Node[] = [];
  readonly #queued: Set<Node> = new Set();
  readonly #skips: Map<Node, Map<string, SkippedRule>> = new Map();
  readonly #applied: AppliedRule[] = [];

  constructor(graph: Graph, rules: readonly RewriteRule[], options: RewriteOptions) {
    this.#graph = graph;
    this.#options = options;
    this.#editor = new Editor(graph, options.signal);
    const anywhere = rules.filter((rule) => rule.anchors.includes('*'));
    this.#everywhere = anchored(anywhere);
    const names = new Set(rules.flatMap((rule) => rule.anchors));
    const table = new Map<string, Anchored>();
    for (const name of names) {
      table.set(
        name,
        anchored(rules.filter((rule) => rule.anchors.includes(name) || rule.anchors.includes('*'))),
      );
    }
    this.#anchored = table;
    this.#depth = rules.reduce((most, rule) => Math.max(most, rule.depth), 0);
  }

  async run(): Promise<RewriteReport> {
    const { signal, subgraphs } = this.#options;
    signal?.throwIfAborted();
    let count = 0;
    for (const node of subgraphs === false ? this.#graph.nodes() : this.#graph.nodesDeep()) {
      count++;
      await this.#editor.prepare(node);
      this.#enqueue(node, 0);
    }
    const limit = this.#options.maxApplications ?? 1000 + 20 * count;
    let visits = 0;
    for (let head = 0; head < this.#queue.length; head++) {
      const node = this.#queue[head] as Node;
      this.#queued.delete(node);
      if (head > 4096 && head * 2 > this.#queue.length) {
        this.#queue.splice(0, head + 1);
        head = -1;
      }
      if (!node.isAttached) continue;
      if ((visits & 63) === 0) signal?.throwIfAborted();
      visits++;
      await this.#visit(node);
      if (this.#applied.length > limit) throw this.#tooMany(limit);
    }
    const skipped: SkippedRule[] = [];
    for (const [node, notes] of this.#skips) if (node.isAttached) skipped.push(...notes.values());
    return { applied: this.#applied, skipped, visits };
  }

  async #visit(node: Node): Promise<void> {
    this.#editor.graph = node.graph;
    for (const rule of this.#rulesAt(node).rules) {
      const before = node.graph.revision.count;
      const outcome = rule.apply(node, this.#editor);
      const said = outcome instanceof Promise ? await outcome : outcome;
      if (typeof said === 'string') {
        if (node.graph.revision.count === before)
          throw errors.internal(`rule "${rule.name}" says "${said}" and changed nothing`);
        this.#skips.get(node)?.delete(rule.name);
        this.#applied.push({ rule: rule.name, node: node.name, what: said });
        await this.#requeue(node);
        return;
      }
      if (node.graph.revision.count !== before) {
        throw errors.internal(
          `rule "${rule.name}" changed the graph at "${node.name}" and does not say what it did`,
        );
      }
      if (said !== undefined) this.#note(node, rule, said.skip);
      else this.#skips.get(node)?.delete(rule.name);
    }
  }

  /** Queues what an application touched, and what reads it as far down as some rule could look up. */
  async #requeue(node: Node): Promise<void> {
    const { touched } = this.#editor;
    if (node.isAttached) touched.add(node);
    let level: Node[] = [...touched].filter((item) => item.isAttached);
    touched.clear();
    const seen = new Set(level);
    // A pattern looks at constants of every node it covers, so they are loaded for all that were touched.
    for (const item of level) await this.#editor.prepare(item);
    for (let depth = 0; level.length > 0; depth++) {
      for (const item of level) this.#enqueue(item, depth);
      if (depth === this.#depth) return;
      const below: Node[] = [];
      for (const item of level) {
        for (const output of item.outputs) {
          for (const use of output.uses) {
            if (seen.has(use.node)) continue;
            seen.add(use.node);
            below.push(use.node);
          }
        }
      }
      level = below;
    }
  }

  #rulesAt(node: Node): Anchored {
    return this.#anchored.get(node.op) ?? this.#everywhere;
  }

  #enqueue(node: Node, depth: number): void {
    const { rules, depth: reach } = this.#rulesAt(node);
    if (rules.length === 0 || reach < depth || this.#queued.has(node)) return;
    this.#queued.add(node);
    this.#queue.push(node);
  }

  #note(node: Node, rule: RewriteRule, skip: { readonly code: string; readonly reason: string }): void {
    const notes = this.#skips.get(node) ?? new Map<string, SkippedRule>();
    notes.set(rule.name, { rule: rule.name, node: node.name, code: skip.code, reason: skip.reason });
    this.#skips.set(node, notes);
  }

  #tooMany(limit: number): Error {
    const last = this.#applied.slice(-6).map((item) => `${item.rule} at "${item.node}"`);
    return errors.limitExceeded(
      'maxApplications',
      limit,
      this.#applied.length,
      `Rewriting (last: ${last.join(', ')})`,
    );
  }
}

function anchored(rules: readonly RewriteRule[]): Anchored {
  return { rules, depth: rules.reduce((most, rule) => Math.max(most, rule.depth), 0) };
}
