import { isLitheError } from '../errors/lithe-error.ts';
import { WORKING_OPSET } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import type { AttributeSpec } from '../op/attributes.ts';
import type { AnyOpDef, ParameterSpec } from '../op/op-def.ts';
import type { DType } from '../tensor/dtype.ts';
import { nodeLabel, type Scope, type VerifyRule } from './scope.ts';

/** The definition that a node must meet; `undefined` where none holds: unknown, or another version of the operator. */
function definitionOf(node: Node, { opset, imports, functions }: Scope): AnyOpDef | undefined {
  if (functions.has(`${node.domain}:${node.opType}`)) return undefined;
  const def = opset?.of(node);
  if (def === undefined) return undefined;
  const version = imports.get(node.domain);
  if (version === undefined) return undefined;
  // The definitions of ai.onnx are those of the working opset; a model of another one is carried unchecked.
  return node.domain === ''
    ? version === WORKING_OPSET
      ? def
      : undefined
    : version >= def.since
      ? def
      : undefined;
}

/** The domain of every node is imported by the model, or the node calls one of its functions. */
const importedDomains: VerifyRule = {
  name: 'imported-domains',
  node(node, { imports, functions, report }) {
    if (imports.has(node.domain) || functions.has(`${node.domain}:${node.opType}`)) return;
    report(`${nodeLabel(node)} is of domain "${node.domain || 'ai.onnx'}", which the model does not import.`);
  },
};

/** Inputs and outputs are as many as the operator takes, and the required ones are there. */
const parameterCounts: VerifyRule = {
  name: 'parameter-counts',
  node(node, scope) {
    const def = definitionOf(node, scope);
    if (def === undefined) return;
    checkCount(node, 'input', def.inputs, node.inputs, scope);
    checkCount(node, 'output', def.outputs, node.outputs, scope);
  },
};

function checkCount(
  node: Node,
  what: 'input' | 'output',
  specs: readonly ParameterSpec[],
  values: readonly (Value | null)[],
  { report }: Scope,
): void {
  const last = specs.at(-1);
  if (values.length > specs.length && last?.variadic === undefined) {
    report(`${nodeLabel(node)} has ${values.length} ${what}s; the operator takes at most ${specs.length}.`);
  }
  specs.forEach((spec, index) => {
    const value = values[index];
    const absent = value === null || value === undefined || (what === 'output' && value.name === '');
    if (!absent || spec.optional === true || (spec.variadic !== undefined && index > 0)) return;
    report(`${nodeLabel(node)} lacks ${what} ${index} ("${spec.name}"), which the operator requires.`);
  });
}

/** Attributes are those of the operator, of the right kind, with values it allows. */
const attributes: VerifyRule = {
  name: 'attributes',
  node(node, scope) {
    const def = definitionOf(node, scope);
    if (def === undefined) return;
    for (const [name, value] of node.attributes) {
      const spec = Object.hasOwn(def.attributes, name)
        ? (def.attributes[name] as AttributeSpec<unknown>)
        : undefined;
      if (spec === undefined) {
        scope.report(`${nodeLabel(node)} has an attribute "${name}", which the operator does not know.`);
      } else if (value.kind === 'reference') {
        if (!scope.inFunction) {
          scope.report(
            `${nodeLabel(node)} refers to function attribute "${value.name}", but is not in a function.`,
          );
        }
      } else {
        const problem = readProblem(() => spec.read(value, node, name));
        if (problem !== undefined) scope.report(problem);
      }
    }
    for (const [name, spec] of Object.entries(def.attributes)) {
      if (spec.required && !node.attributes.has(name)) {
        scope.report(`${nodeLabel(node)} lacks the attribute "${name}", which the operator requires.`);
      }
    }
  },
};

function readProblem(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (isLitheError(error)) return error.message;
    throw error;
  }
}

/** Known dtypes are among those of the operator, and equal where a type variable says so. */
const parameterTypes: VerifyRule = {
  name: 'parameter-types',
  node(node, scope) {
    const def = definitionOf(node, scope);
    if (def === undefined) return;
    const bound = new Map<string, DType>();
    checkTypes(node, 'input', def.inputs, node.inputs, { bound, scope });
    checkTypes(node, 'output', def.outputs, node.outputs, { bound, scope });
  },
};

function checkTypes(
  node: Node,
  what: 'input' | 'output',
  specs: readonly ParameterSpec[],
  values: readonly (Value | null)[],
  { bound, scope }: { readonly bound: Map<string, DType>; readonly scope: Scope },
): void {
  values.forEach((value, index) => {
    const spec = specs[Math.min(index, specs.length - 1)];
    const dtype = value?.dtype;
    if (spec === undefined || dtype === undefined) return;
    if (spec.dtypes.length > 0 && !spec.dtypes.includes(dtype)) {
      scope.report(
        `${nodeLabel(node)} has ${what} ${index} ("${spec.name}") of dtype ${dtype}; the operator takes ${spec.dtypes.join(', ')}.`,
      );
      return;
    }
    if (spec.variable === undefined || spec.variadic === 'any') return;
    const before = bound.get(spec.variable);
    if (before === undefined) bound.set(spec.variable, dtype);
    else if (before !== dtype) {
      scope.report(
        `${nodeLabel(node)} has ${what} ${index} ("${spec.name}") of dtype ${dtype}, where type ${spec.variable} is already ${before}.`,
      );
    }
  });
}

/** Rules of the operators' schemas, for those that are known. */
export const schemaRules: readonly VerifyRule[] = [
  importedDomains,
  parameterCounts,
  attributes,
  parameterTypes,
];
