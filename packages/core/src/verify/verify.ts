import { errors } from '../errors/catalogue.ts';
import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { OpSet } from '../op/op-set.ts';
import { schemaRules } from './schema-rules.ts';
import type { Scope, VerifyRule } from './scope.ts';
import { structureRules } from './structure-rules.ts';
import { typeRules } from './type-rules.ts';

/** What {@link verify} checks a model against. */
export interface VerifyOptions {
  /**
   * Operators whose schemas are checked: counts, attributes, dtypes. Without it only what holds for any operator is.
   * A node whose operator is not in the set is not judged.
   */
  readonly opset?: OpSet | undefined;
}

const rules: readonly VerifyRule[] = [...structureRules, ...typeRules, ...schemaRules];

/**
 * Checks a model, its subgraphs and its functions: every value has one maker, both ends of every edge agree, nodes
 * come after what they read, names are unique and lead to their values, subgraphs hang on their parents, constants
 * have the declared types, domains are imported, and, given an operator set, nodes meet their schemas.
 * Cost is linear in nodes, values and edges; tensors are not loaded.
 *
 * @returns every problem as a full sentence; empty for a valid model
 *
 * @example
 * ```ts
 * import { Graph, Model, verify } from '@lithe/core';
 *
 * const graph = new Graph();
 * const x = graph.addInput('x');
 * graph.setOutputs([graph.addNode({ opType: 'Relu', domain: 'com.example', inputs: [x] }).output()]);
 * verify(new Model({ graph }))[0]; // => 'Node "Relu_0" (com.example.Relu) is of domain "com.example", which the model does not import.'
 * ```
 */
export function verify(model: Model, options: VerifyOptions = {}): string[] {
  const problems: string[] = [];
  const shared = {
    model,
    opset: options.opset,
    functions: new Set(model.functions.map((item) => `${item.domain}:${item.name}`)),
    report: (problem: string): void => {
      problems.push(problem);
    },
  };
  const check = (graph: Graph, imports: ReadonlyMap<string, number>, inFunction: boolean): void => {
    const scope: Scope = {
      ...shared,
      imports,
      inFunction,
      defined: new Set(),
      slots: new Map(),
      handedOut: new Map(),
      seen: new Set(),
    };
    if (graph.parent !== null) problems.push(`Graph "${graph.name}" is a top-level graph, but has a parent.`);
    walk(graph, scope);
    for (const value of scope.defined) for (const rule of rules) rule.value?.(value, scope);
  };
  check(model.graph, model.opsetImports, false);
  for (const item of model.functions) check(item.graph, item.opsetImports, true);
  return problems;
}

function walk(graph: Graph, scope: Scope): void {
  for (const value of graph.inputs) scope.defined.add(value);
  for (const value of graph.initializers) scope.defined.add(value);
  for (const rule of rules) rule.enter?.(graph, scope);
  for (const node of graph.nodes()) {
    scope.seen.add(node);
    for (const rule of rules) rule.node?.(node, scope);
    for (const [, inner] of node.subgraphs) walk(inner, scope);
    for (const output of node.outputs) scope.defined.add(output);
  }
  for (const rule of rules) rule.leave?.(graph, scope);
}

/**
 * Stops when a model is not valid.
 *
 * @param where what to call it in the message, such as `after pass "x/y"`
 * @throws {LitheError} MODEL_INVALID listing every problem
 */
export function assertValid(model: Model, options: VerifyOptions = {}, where?: string): void {
  const problems = verify(model, options);
  if (problems.length > 0) throw errors.modelInvalid(problems, where);
}
