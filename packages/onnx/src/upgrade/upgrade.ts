import {
  errors,
  type Graph,
  type MetaKey,
  type Model,
  type ModelFunction,
  metaKey,
  type Node,
  WORKING_OPSET,
} from '@lithe/core';
import { schemaAt, schemaProblem, versionsOf } from '../schema/schema.ts';
import { latestOpset } from '../schema/schema-table.ts';
import type { AdapterTable } from './adapter.ts';
import { elementwiseAdapters } from './elementwise.ts';
import { normalizationAdapters } from './normalization.ts';
import { otherAdapters } from './other.ts';
import { resizeAdapters } from './resize.ts';
import { Blocked, Replacer, Rewrite } from './rewrite.ts';
import { shapeAdapters } from './shapes.ts';
import { softmaxAdapters } from './softmax.ts';
import { TypeFlow } from './type-flow.ts';

/** A node that could not be brought to the working opset. */
export interface UpgradeNote {
  /** Name of the node, or of its first output. */
  readonly node: string;
  /** Operator. */
  readonly opType: string;
  /** Opset whose definition holds for it. */
  readonly opset: number;
  /** Why it stays there; a full sentence. */
  readonly reason: string;
}

const notesKey: MetaKey<readonly UpgradeNote[]> = metaKey('onnx/upgrade-notes');

/**
 * The nodes of a model that are carried at another opset than the working one, and why. No pass, backend or shape
 * rule knows them (their domain is `ai.onnx@` and the opset), so they are barriers; written files hold them as they
 * were.
 */
export function upgradeNotes(model: Model): readonly UpgradeNote[] {
  return model.meta.get(notesKey) ?? [];
}

/** Keeps the notes with a model. */
export function setUpgradeNotes(model: Model, notes: readonly UpgradeNote[]): void {
  if (notes.length > 0) model.meta.set(notesKey, notes);
}

/** Start of the domain of nodes that are carried at another opset. */
const CARRIED = 'ai.onnx@';

/** The domain of `ai.onnx` nodes that are carried at an opset. */
export function carriedDomain(opset: number): string {
  return `${CARRIED}${opset}`;
}

/** The opset at which nodes of a domain are carried; `undefined` for any other domain. */
export function carriedOpset(domain: string): number | undefined {
  return domain.startsWith(CARRIED) ? Number(domain.slice(CARRIED.length)) : undefined;
}

/** The adapters of all operators. */
export const adapters: AdapterTable = {
  ...elementwiseAdapters,
  ...normalizationAdapters,
  ...otherAdapters,
  ...resizeAdapters,
  ...shapeAdapters,
  ...softmaxAdapters,
};

/** What is upgraded: the parts of a model before it is made. */
export interface UpgradeInput {
  /** The main graph. */
  readonly graph: Graph;
  /** Local functions. */
  readonly functions: readonly ModelFunction[];
  /** Opset versions by domain; the entry of `ai.onnx` is set. */
  readonly opsetImports: Map<string, number>;
}

/**
 * Brings every `ai.onnx` node to the working opset, in place. A node whose old meaning the working opset cannot
 * express is carried as it is.
 *
 * @returns the local functions with their new opsets, and a note for each node that is carried
 * @throws {LitheError} MODEL_INVALID when `ai.onnx` operators are used and no opset of them is imported
 */
export function upgradeToWorkingOpset(input: UpgradeInput): {
  readonly functions: readonly ModelFunction[];
  readonly notes: readonly UpgradeNote[];
} {
  const { graph, functions, opsetImports } = input;
  const local = new Set(functions.map((item) => functionKey(item.domain, item.name)));
  const notes: UpgradeNote[] = [];
  upgradeBody(graph, opsetImports, false, local, notes);
  const upgraded = functions.map((item): ModelFunction => {
    const imports = new Map(item.opsetImports);
    // A function that names no opset uses that of the model.
    if (!imports.has('') && input.opsetImports.has('')) imports.set('', opsetImports.get('') as number);
    upgradeBody(item.graph, imports, true, local, notes);
    return { ...item, opsetImports: imports };
  });
  return { functions: upgraded, notes };
}

function functionKey(domain: string, name: string): string {
  return `${domain === 'ai.onnx' ? '' : domain}:${name}`;
}

function upgradeBody(
  graph: Graph,
  imports: Map<string, number>,
  isFunction: boolean,
  local: ReadonlySet<string>,
  notes: UpgradeNote[],
): void {
  const opset = imports.get('') ?? 0;
  if (opset === WORKING_OPSET) return;
  const types = new TypeFlow();
  const upgrader = new GraphUpgrader(opset, isFunction, local, types, notes);
  upgrader.run(graph);
  upgrader.finish();
  for (const carried of upgrader.carried) imports.set(carriedDomain(carried), carried);
  if (opset !== 0) imports.set('', WORKING_OPSET);
}

class GraphUpgrader {
  /** Opsets at which nodes are carried. */
  readonly carried = new Set<number>();
  readonly #opset: number;
  readonly #isFunction: boolean;
  readonly #local: ReadonlySet<string>;
  readonly #types: TypeFlow;
  readonly #replacer: Replacer;
  readonly #notes: UpgradeNote[];

  constructor(
    opset: number,
    isFunction: boolean,
    local: ReadonlySet<string>,
    types: TypeFlow,
    notes: UpgradeNote[],
  ) {
    this.#opset = opset;
    this.#isFunction = isFunction;
    this.#local = local;
    this.#types = types;
    this.#replacer = new Replacer(types);
    this.#notes = notes;
  }

  /** Puts the last touches to the graph and its subgraphs. */
  finish(): void {
    this.#replacer.finish();
  }

  run(graph: Graph): void {
    // A list, because nodes that adapters insert are of the working opset already.
    for (const node of [...graph.nodes()]) {
      for (const [, inner] of node.subgraphs) this.run(inner);
      this.#types.visit(node, this.#opset);
      if (node.domain === '' && !this.#local.has(functionKey('', node.opType))) this.#upgrade(node);
    }
  }

  #upgrade(node: Node): void {
    const opset = this.#opset;
    if (opset === 0) {
      throw errors.modelInvalid([
        `Node "${node.name}" uses ${node.opType} of ai.onnx, and no opset of it is imported.`,
      ]);
    }
    if (opset > latestOpset) {
      this.#carry(node, opset, `opset ${opset} is newer than this version of Lithe knows`);
      return;
    }
    const versions = versionsOf(node.opType);
    if (versions.length === 0) {
      this.#carry(node, opset, 'it is no operator of ai.onnx');
      return;
    }
    // One that came later than the working opset cannot be mistaken for another.
    if (!versions.some((version) => version <= WORKING_OPSET)) return;
    if (opset > WORKING_OPSET) this.#checkNewer(node);
    else this.#climb(node);
  }

  /** From a newer opset: the node must have a form that the working opset knows. */
  #checkNewer(node: Node): void {
    const schema = schemaAt(node.opType, WORKING_OPSET);
    const problem =
      schema === undefined
        ? 'it is not in the working opset'
        : schemaProblem(node, schema, this.#types.typeOf);
    if (problem !== undefined) this.#carry(node, this.#opset, `at opset ${WORKING_OPSET} ${problem}`);
  }

  /** From an older opset: adapters bring it up, step by step. */
  #climb(node: Node): void {
    const before = this.#opset;
    const rewrite = new Rewrite(node, this.#types, this.#replacer, this.#isFunction);
    let reached = before;
    try {
      for (;;) {
        const step = nextStep(rewrite.node.opType, reached);
        if (step === undefined) break;
        if (hasReference(rewrite.node)) throw new Blocked('it takes attributes from the function around it');
        step.adapt(rewrite);
        reached = step.to;
      }
    } catch (cause) {
      if (!(cause instanceof Blocked)) throw cause;
      const stop = nextStep(rewrite.node.opType, reached)?.to ?? WORKING_OPSET;
      this.#carry(rewrite.node, stop - 1, cause.message);
      return;
    }
    const schema = schemaAt(rewrite.node.opType, WORKING_OPSET);
    if (schema === undefined) {
      this.#carry(rewrite.node, before, `its operator was dropped before opset ${WORKING_OPSET}`);
      return;
    }
    // Whatever no adapter caught: a form that the working opset does not have.
    const problem = schemaProblem(rewrite.node, schema, this.#types.typeOf);
    if (problem !== undefined) this.#carry(rewrite.node, reached, `at opset ${WORKING_OPSET} ${problem}`);
  }

  #carry(node: Node, opset: number, reason: string): void {
    const { opType } = node;
    const name = node.name === '' ? (node.outputs[0]?.name ?? '') : node.name;
    const { inputs, attributes } = node;
    this.#replacer.replace(node, { opType, domain: carriedDomain(opset), inputs, attributes });
    this.carried.add(opset);
    this.#notes.push({
      node: name,
      opType,
      opset,
      reason: `Node "${name}" (${opType}) stays at opset ${opset}: ${reason}.`,
    });
  }
}

function nextStep(
  opType: string,
  reached: number,
): { readonly to: number; readonly adapt: AdapterTable[string][number] } | undefined {
  const own = Object.hasOwn(adapters, opType) ? adapters[opType] : undefined;
  if (own === undefined) return undefined;
  for (const key of Object.keys(own)) {
    const to = Number(key);
    const adapt = own[to];
    if (to > reached && to <= WORKING_OPSET && adapt !== undefined) return { to, adapt };
  }
  return undefined;
}

function hasReference(node: Node): boolean {
  for (const item of node.attributes.values()) if (item.kind === 'reference') return true;
  return false;
}
