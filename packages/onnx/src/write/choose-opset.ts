import { errors, type Graph, type Model, type Node, type Value, WORKING_OPSET } from '@lithe/core';
import { modelExtras } from '../extras.ts';
import { schemaAt, schemaProblem } from '../schema/schema.ts';
import { latestOpset } from '../schema/schema-table.ts';
import { TypeFlow } from '../upgrade/type-flow.ts';
import { carriedOpset } from '../upgrade/upgrade.ts';
import { crossings, withoutNeutral } from './crossings.ts';
import type { WrittenForm } from './form.ts';

/** The lowest opset that is written: below it, operators of two inputs did not broadcast. */
export const lowestOpset = 7;

/**
 * The lowest opset at which a model with QuantizeLinear or DequantizeLinear nodes is written, although the operators are
 * older: below it onnxruntime has no integer kernels for what stands between them. Tried with 1.30: at opset 10 a MaxPool
 * between pairs runs in float, and a DepthToSpace does not load at all.
 */
export const lowestQuantizedOpset = 13;

const quantizing: ReadonlySet<string> = new Set(['QuantizeLinear', 'DequantizeLinear']);

/** How a model is written at an opset. */
export interface OpsetPlan {
  /** Opset of `ai.onnx`; `undefined` for a model that is written at the opsets that it declares. */
  readonly opset: number | undefined;
  /** Nodes that are written in another form than they have. */
  readonly forms: ReadonlyMap<Node, WrittenForm>;
  /** Constants that no written node reads any more. */
  readonly dropped: ReadonlySet<Value>;
}

/** What is asked of an opset. */
export interface OpsetRequest {
  /** Exactly this one; otherwise the lowest that serves. */
  readonly opset?: number | undefined;
}

/**
 * Finds the opset to write a model at, and the form of each node there. Without a request it is the lowest at which
 * every node can be written: of a model that was read from a file not below that file's, and one that was built is
 * written in the forms it was built in.
 *
 * @throws {LitheError} OPSET_UNSUPPORTED when a node has no form at the opset asked for, or no opset serves all nodes
 */
export function chooseOpset(model: Model, request: OpsetRequest): OpsetPlan {
  const nodes = onnxNodes(model);
  const training = trainingOpset(model);
  const asked = request.opset ?? training;
  if (asked !== undefined && training !== undefined && asked !== training) {
    throw errors.opsetUnsupported('', asked, `is not that of the training graphs of the model (${training})`);
  }
  if (nodes.length === 0 || (model.opset !== WORKING_OPSET && model.opset !== 0)) {
    // Nothing to choose, or a model that was read without an upgrade: its nodes have the forms of its own opset.
    if (asked === undefined || asked === model.opset)
      return { opset: undefined, forms: new Map(), dropped: new Set() };
    if (nodes.length > 0) {
      throw errors.opsetUnsupported(
        '',
        asked,
        `cannot be written: the model was left at opset ${model.opset} when it was read`,
      );
    }
  }
  if (asked !== undefined && (asked < lowestOpset || asked > latestOpset)) {
    throw errors.opsetUnsupported(
      '',
      asked,
      `cannot be written; opsets ${lowestOpset} to ${latestOpset} can`,
    );
  }
  const search: Search = {
    types: typesOf(model),
    mayLower: model.origin !== undefined,
    functionGraphs: new Set(model.functions.map((item) => item.graph)),
  };
  if (asked !== undefined) {
    const forms = new Map<Node, WrittenForm>();
    for (const node of nodes) {
      const form = formAt(node, asked, { ...search, mayLower: true });
      if (typeof form === 'string')
        throw errors.opsetUnsupported('', asked, `cannot express ${describe(node)}: ${form}`);
      if (form !== undefined) forms.set(node, form);
    }
    return { opset: asked, forms, dropped: droppedBy(forms) };
  }
  const origin = model.origin?.opset ?? 0;
  // A file newer than the working opset need not stay there: its nodes have been brought down.
  const floor = nodes.some((node) => quantizing.has(node.opType)) ? lowestQuantizedOpset : lowestOpset;
  let opset = Math.min(Math.max(origin, floor), WORKING_OPSET);
  let forms = new Map<Node, WrittenForm>();
  let last = '';
  for (;;) {
    const start = opset;
    forms = new Map();
    for (const node of nodes) {
      for (;;) {
        const form = formAt(node, opset, search);
        if (typeof form !== 'string') {
          if (form !== undefined) forms.set(node, form);
          break;
        }
        last = `${describe(node)}: ${form}`;
        if (++opset > latestOpset) {
          throw errors.opsetUnsupported(
            '',
            latestOpset,
            `and those before cannot express all nodes together; at the last one ${last}`,
          );
        }
      }
    }
    if (opset === start) return { opset, forms, dropped: droppedBy(forms) };
  }
}

/** What the search for an opset looks things up in. */
interface Search {
  readonly types: TypeFlow;
  /** Whether nodes may be written in an earlier form than they have. */
  readonly mayLower: boolean;
  readonly functionGraphs: ReadonlySet<Graph>;
}

function rootOf(graph: Graph): Graph {
  let root = graph;
  while (root.parent !== null) root = root.parent;
  return root;
}

function describe(node: Node): string {
  const name = node.name === '' ? (node.outputs[0]?.name ?? '') : node.name;
  return `node "${name}" (${node.opType})`;
}

/** Training graphs are carried untouched, so they bind the model to their opset. */
function trainingOpset(model: Model): number | undefined {
  const extras = model.meta.get(modelExtras);
  return extras === undefined || extras.trainingInfo.length === 0 ? undefined : extras.trainingOpset;
}

/** The nodes of `ai.onnx` in all graphs and functions, those carried at another opset included. */
function onnxNodes(model: Model): readonly Node[] {
  const local = new Set(
    model.functions.map((item) => `${item.domain === 'ai.onnx' ? '' : item.domain}:${item.name}`),
  );
  const nodes: Node[] = [];
  for (const graph of graphsOf(model)) {
    for (const node of graph.nodesDeep()) {
      const carried = carriedOpset(node.domain) !== undefined;
      if (carried || (node.domain === '' && !local.has(`:${node.opType}`))) nodes.push(node);
    }
  }
  return nodes;
}

function graphsOf(model: Model): readonly Graph[] {
  return [model.graph, ...model.functions.map((item) => item.graph)];
}

function typesOf(model: Model): TypeFlow {
  const types = new TypeFlow();
  const visit = (graph: Graph): void => {
    for (const node of graph.nodes()) {
      for (const [, inner] of node.subgraphs) visit(inner);
      types.visit(node, WORKING_OPSET);
    }
  };
  for (const graph of graphsOf(model)) visit(graph);
  return types;
}

/**
 * How a node is written at an opset.
 *
 * @returns the form, `undefined` for the one it has, or why there is none
 */
function formAt(node: Node, opset: number, search: Search): WrittenForm | undefined | string {
  const { types, mayLower, functionGraphs } = search;
  const isInFunction = functionGraphs.has(rootOf(node.graph));
  const schema = schemaAt(node.opType, opset);
  const carried = carriedOpset(node.domain);
  if (carried !== undefined) {
    // Its meaning is that of its own opset: it may be written wherever the same definition holds.
    const own = schemaAt(node.opType, carried);
    if (own === undefined) return carried === opset ? undefined : `it is known at opset ${carried} only`;
    return own.since === schema?.since ? undefined : `it has the meaning of opset ${carried}`;
  }
  if (schema === undefined) return 'the operator is not defined there';
  let form: WrittenForm = { inputs: node.inputs, attributes: node.attributes };
  const own = Object.hasOwn(crossings, node.opType) ? (crossings[node.opType] ?? {}) : {};
  const versions = Object.keys(own)
    .map(Number)
    .filter((version) => version > opset)
    .sort((left, right) => right - left);
  for (const version of versions) {
    const next = own[version]?.(form, { node, types });
    if (typeof next === 'string') return next;
    form = next ?? form;
  }
  form = withoutNeutral(node.opType, form, schema.attributes);
  const filled =
    form.emptyInputs === undefined ? form.inputs : form.inputs.map((value) => value ?? node.input(0));
  const problem = schemaProblem(
    { inputs: filled, attributes: form.attributes, outputs: node.outputs },
    schema,
    form.emptyInputs === undefined ? types.typeOf : () => undefined,
  );
  if (problem !== undefined) return problem;
  if (form.emptyInputs !== undefined && form.emptyInputs.length > 0 && isInFunction) {
    return 'it needs empty tensors, which a function cannot hold';
  }
  if (sameForm(form, node)) return undefined;
  return mayLower || onlyDropsDefaults(form, node) ? form : `it has the form of a later opset`;
}

function sameForm(form: WrittenForm, node: Node): boolean {
  if (form.emptyInputs !== undefined && form.emptyInputs.length > 0) return false;
  if (
    form.inputs.length !== node.inputs.length ||
    form.inputs.some((value, index) => value !== node.input(index))
  )
    return false;
  return (
    form.attributes.size === node.attributes.size &&
    [...form.attributes].every(([name, value]) => node.attributes.get(name) === value)
  );
}

function onlyDropsDefaults(form: WrittenForm, node: Node): boolean {
  if (
    form.inputs.length !== node.inputs.length ||
    form.inputs.some((value, index) => value !== node.input(index))
  )
    return false;
  return [...form.attributes].every(([name, value]) => node.attributes.get(name) === value);
}

/** Constants whose every reader is written without them. */
function droppedBy(forms: ReadonlyMap<Node, WrittenForm>): ReadonlySet<Value> {
  const removed = new Map<Value, number>();
  for (const [node, form] of forms) {
    for (const value of node.inputs) {
      if (value !== null && !form.inputs.includes(value)) removed.set(value, (removed.get(value) ?? 0) + 1);
    }
  }
  const dropped = new Set<Value>();
  for (const [value, count] of removed) {
    const isConstant =
      value.initializer !== undefined ? !value.isGraphInput : value.producer?.is('Constant') === true;
    if (isConstant && value.useCount === count && value.outputOf.length === 0) dropped.add(value);
  }
  return dropped;
}

/** The IR version that came with an opset; version 4 is the first in which weights need not be inputs. */
export function irVersionFor(opset: number): number {
  const table: readonly (readonly [opset: number, irVersion: number])[] = [
    [9, 4],
    [10, 5],
    [11, 6],
    [14, 7],
    [18, 8],
    [20, 9],
    [22, 10],
    [23, 11],
    [24, 12],
    [26, 13],
  ];
  return table.find(([last]) => opset <= last)?.[1] ?? 14;
}
