import { type Attribute, errors, Graph, type ModelFunction } from '@lithe/core';
import type { FunctionProto, ModelProto, OperatorSetIdProto } from '../proto/onnx_pb.ts';
import { invalidModel, propsOf, type ReadContext } from './context.ts';
import { readAttribute } from './read-attribute.ts';
import { GraphReader, readGraph } from './read-graph.ts';

/** The parts of a model as the file holds them, before any upgrade. */
export interface ModelParts {
  /** The main graph. */
  readonly graph: Graph;
  /** Local functions. */
  readonly functions: readonly ModelFunction[];
  /** Opset versions by domain. */
  readonly opsetImports: Map<string, number>;
}

/**
 * Makes the graph, functions and opsets of a model.
 *
 * @throws {LitheError} MODEL_INVALID when it is no model
 */
export function readModelParts(proto: ModelProto, context: ReadContext): ModelParts {
  if (proto.graph === undefined) throw invalidModel(context, 'It holds no graph.');
  const opsetImports = readImports(proto.opsetImport, context);
  // IR versions 1 and 2 know no imports: opset 1 of ai.onnx holds.
  if (context.irVersion < 3 && !opsetImports.has('')) opsetImports.set('', 1);
  const functions: ModelFunction[] = [];
  const seen = new Set<string>();
  for (const item of proto.functions) {
    const found = readFunction(item, context);
    const key = JSON.stringify([found.domain, found.name, found.overload]);
    if (seen.has(key)) throw invalidModel(context, `The function "${found.name}" is defined twice.`);
    seen.add(key);
    functions.push(found);
  }
  return { graph: readGraph(proto.graph, null, context), functions, opsetImports };
}

/** Opset versions by domain; `ai.onnx` is spelled `''`. */
function readImports(imports: readonly OperatorSetIdProto[], context: ReadContext): Map<string, number> {
  const map = new Map<string, number>();
  for (const { domain, version } of imports) {
    if (version < 0n || version > 2n ** 31n) {
      throw errors.valueOutOfRange(
        `The opset of domain "${domain}" in "${context.file}"`,
        version,
        '0 to 2^31',
      );
    }
    const key = domain === 'ai.onnx' ? '' : domain;
    const known = map.get(key);
    if (known !== undefined && known !== Number(version)) {
      throw invalidModel(context, `It imports two opsets of domain "${domain}": ${known} and ${version}.`);
    }
    map.set(key, Number(version));
  }
  return map;
}

function readFunction(proto: FunctionProto, context: ReadContext): ModelFunction {
  if (proto.name === '') throw invalidModel(context, 'A function has no name.');
  const graph = new Graph(proto.name);
  const reader = new GraphReader(graph, context);
  for (const name of proto.input) {
    if (name === '' || graph.value(name) !== undefined) {
      throw invalidModel(
        context,
        `The function "${proto.name}" has two inputs called "${name}", or one without name.`,
      );
    }
    graph.addInput(name);
  }
  reader.nodes(proto.node);
  for (const info of proto.valueInfo) reader.valueInfo(info);
  graph.setOutputs(
    proto.output.map((name) => {
      const value = graph.value(name);
      if (value === undefined)
        throw invalidModel(context, `Output "${name}" of function "${proto.name}" is made by nothing.`);
      return value;
    }),
  );
  const defaults = new Map<string, Attribute>();
  for (const attribute of proto.attributeProto) {
    defaults.set(
      attribute.name,
      readAttribute(attribute, (inner) => readGraph(inner, graph, context), context),
    );
  }
  return {
    domain: proto.domain,
    name: proto.name,
    overload: proto.overload,
    graph,
    attributes: proto.attribute,
    attributeDefaults: defaults,
    opsetImports: readImports(proto.opsetImport, context),
    docString: proto.docString === '' ? undefined : proto.docString,
    props: propsOf(proto.metadataProps),
  };
}
