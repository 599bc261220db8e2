import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type Attribute,
  type AttributeKind,
  type Graph,
  type ModelFunction,
  type Node,
  Tensor,
  type TensorSource,
  tensorType,
  type Value,
} from '@lithe/core';
import {
  attributeExtras,
  givenName,
  graphUnknown,
  nodeExtras,
  tensorExtras,
  valueExtras,
} from '../extras.ts';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
  type OperatorSetIdProtoSchema,
  TensorAnnotationSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../proto/onnx_pb.ts';
import { encodeUtf8 } from '../read/text.ts';
import { carriedOpset } from '../upgrade/upgrade.ts';
import type { WrittenForm } from './form.ts';
import { Rope } from './rope.ts';
import { type ExternalPlace, entriesOf, tensorRope } from './write-tensor.ts';
import { typeToProto } from './write-type.ts';

/** Numbers of the fields that hold weights, directly or further down, and so are encoded piece by piece. */
const FIELDS = {
  attributeTensor: 5,
  attributeGraph: 6,
  attributeTensors: 10,
  attributeGraphs: 11,
  nodeAttribute: 5,
  graphNode: 1,
  graphInitializer: 5,
  functionNode: 7,
  functionAttribute: 11,
} as const;

const kindNumbers: Readonly<Record<AttributeKind, AttributeProto_AttributeType>> = {
  int: AttributeProto_AttributeType.INT,
  float: AttributeProto_AttributeType.FLOAT,
  string: AttributeProto_AttributeType.STRING,
  bytes: AttributeProto_AttributeType.STRING,
  tensor: AttributeProto_AttributeType.TENSOR,
  graph: AttributeProto_AttributeType.GRAPH,
  type: AttributeProto_AttributeType.TYPE_PROTO,
  ints: AttributeProto_AttributeType.INTS,
  floats: AttributeProto_AttributeType.FLOATS,
  strings: AttributeProto_AttributeType.STRINGS,
  tensors: AttributeProto_AttributeType.TENSORS,
  graphs: AttributeProto_AttributeType.GRAPHS,
  types: AttributeProto_AttributeType.TYPE_PROTOS,
};

/** Which values in between get their types written. */
export type ValueInfoChoice = 'declared' | 'all' | 'none';

/** What the encoders of one file share. */
export interface WriteContext {
  /** Where the bytes of a tensor go; `undefined` for the model file itself. */
  place(source: TensorSource): ExternalPlace | undefined;
  /** Which values in between get their types written. */
  readonly valueInfo: ValueInfoChoice;
  /** Nodes that are written in another form than they have. */
  readonly forms: ReadonlyMap<Node, WrittenForm>;
  /** Constants that are not written. */
  readonly dropped: ReadonlySet<Value>;
  /** Names of the empty tensors made for forms, by graph. */
  readonly empties: Map<Graph, string>;
  /** Opset of `ai.onnx` to declare; `undefined` for those that model and functions declare. */
  readonly opset: number | undefined;
  /** Stops writing. */
  readonly signal: AbortSignal | undefined;
}

/** Encodes a graph. */
export async function graphRope(graph: Graph, context: WriteContext): Promise<Rope> {
  const head = create(GraphProtoSchema, {
    name: graph.name,
    ...(graph.docString === undefined ? {} : { docString: graph.docString }),
    input: graph.inputs.map(valueInfo),
    output: graph.outputs.map((value) => (value.graph === graph ? valueInfo(value) : bareInfo(value))),
    metadataProps: entriesOf(graph.props),
  });
  for (const value of graph.values()) {
    const extras = value.meta.get(valueExtras);
    if (extras?.annotation !== undefined) {
      const annotation = create(TensorAnnotationSchema, {
        tensorName: value.name,
        quantParameterTensorNames: entriesOf(extras.annotation),
      });
      head.quantizationAnnotation.push(annotation);
    }
    if (wantsInfo(value, context.valueInfo)) head.valueInfo.push(valueInfo(value));
  }
  const unknown = graph.meta.get(graphUnknown);
  if (unknown !== undefined) head.$unknown = [...unknown];
  const rope = new Rope();
  rope.bytes(toBinary(GraphProtoSchema, head));
  for (const node of graph.nodes()) {
    if (!isDropped(node, context)) rope.messageField(FIELDS.graphNode, await nodeRope(node, context));
  }
  const empty = context.empties.get(graph);
  if (empty !== undefined) {
    rope.messageField(
      FIELDS.graphInitializer,
      await tensorRope(emptyTensor, { name: empty }, context.signal),
    );
  }
  for (const value of graph.initializers) {
    const source = value.initializer;
    if (source === undefined || context.dropped.has(value)) continue;
    const tensor = await tensorRope(
      source,
      {
        name: value.name,
        docString: value.isGraphInput ? undefined : value.docString,
        props: value.isGraphInput ? undefined : value.props,
        external: context.place(source),
      },
      context.signal,
    );
    rope.messageField(FIELDS.graphInitializer, tensor);
  }
  return rope;
}

const emptyTensor = Tensor.from('float32', [0], new Float32Array(0));

function isDropped(node: Node, context: WriteContext): boolean {
  return node.outputs.length === 1 && context.dropped.has(node.output());
}

/** The name of an empty tensor in the graph of a node. */
function emptyName(graph: Graph, context: WriteContext): string {
  const known = context.empties.get(graph);
  if (known !== undefined) return known;
  const name = graph.uniqueName('empty');
  context.empties.set(graph, name);
  return name;
}

function wantsInfo(value: Value, choice: ValueInfoChoice): boolean {
  if (choice === 'none' || value.type === undefined || value.isGraphInput || value.isGraphOutput)
    return false;
  if (value.initializer !== undefined) return false;
  if (value.type.kind === 'tensor' && value.type.dtype === undefined) return false;
  return choice === 'all' || value.meta.get(valueExtras)?.declared === true;
}

function valueInfo(value: Value): ValueInfoProto {
  const info = create(ValueInfoProtoSchema, {
    name: value.name,
    ...(value.type === undefined ? {} : { type: typeToProto(value.type) }),
    ...(value.docString === undefined ? {} : { docString: value.docString }),
    metadataProps: entriesOf(value.props),
  });
  const unknown = value.meta.get(valueExtras)?.unknown;
  if (unknown !== undefined && unknown.length > 0) info.$unknown = [...unknown];
  return info;
}

/** An output that is a value of a graph around: everything else about it is said there. */
function bareInfo(value: Value): ValueInfoProto {
  const type =
    value.type ?? (value.initializer === undefined ? undefined : tensorType(value.initializer.dtype));
  return create(ValueInfoProtoSchema, {
    name: value.name,
    ...(type === undefined ? {} : { type: typeToProto(type) }),
  });
}

/** Input names without the left-out ones at the end: they mean the same, and onnxruntime refuses some of them. */
function withoutTail(names: string[]): string[] {
  while (names.at(-1) === '') names.pop();
  return names;
}

async function nodeRope(node: Node, context: WriteContext): Promise<Rope> {
  const form: WrittenForm = context.forms.get(node) ?? node;
  const domain = carriedOpset(node.domain) === undefined ? node.domain : '';
  const head = create(NodeProtoSchema, {
    input: withoutTail(
      form.inputs.map((value, index) =>
        value === null && form.emptyInputs?.includes(index) === true
          ? emptyName(node.graph, context)
          : (value?.name ?? ''),
      ),
    ),
    output: node.outputs.map((value) => value.name),
    ...(node.name === '' || node.name === node.meta.get(givenName) ? {} : { name: node.name }),
    opType: node.opType,
    ...(domain === '' ? {} : { domain }),
    ...(node.overload === '' ? {} : { overload: node.overload }),
    ...(node.docString === undefined ? {} : { docString: node.docString }),
    metadataProps: entriesOf(node.props),
  });
  const extras = node.meta.get(nodeExtras);
  if (extras !== undefined) {
    head.deviceConfigurations = [...extras.deviceConfigurations];
    if (extras.unknown.length > 0) head.$unknown = [...extras.unknown];
  }
  const rope = new Rope();
  rope.bytes(toBinary(NodeProtoSchema, head));
  for (const [name, attribute] of form.attributes) {
    rope.messageField(FIELDS.nodeAttribute, await attributeRope(name, attribute, context));
  }
  return rope;
}

async function attributeRope(name: string, attribute: Attribute, context: WriteContext): Promise<Rope> {
  const rope = new Rope();
  if (attribute.kind === 'opaque') {
    rope.bytes(attribute.proto);
    return rope;
  }
  const kind = attribute.kind === 'reference' ? attribute.of : attribute.kind;
  const extras = attributeExtras.get(attribute);
  const head = create(AttributeProtoSchema, {
    name,
    type: kindNumbers[kind],
    ...(extras?.docString === undefined ? {} : { docString: extras.docString }),
    ...attributeContent(attribute),
  });
  if (extras !== undefined && extras.unknown.length > 0) head.$unknown = [...extras.unknown];
  rope.bytes(toBinary(AttributeProtoSchema, head));
  const tensor = async (source: TensorSource): Promise<Rope> =>
    tensorRope(
      source,
      { name: tensorExtras.get(source)?.name ?? '', external: context.place(source) },
      context.signal,
    );
  if (attribute.kind === 'tensor') rope.messageField(FIELDS.attributeTensor, await tensor(attribute.value));
  else if (attribute.kind === 'graph')
    rope.messageField(FIELDS.attributeGraph, await graphRope(attribute.value, context));
  else if (attribute.kind === 'tensors') {
    for (const source of attribute.value) rope.messageField(FIELDS.attributeTensors, await tensor(source));
  } else if (attribute.kind === 'graphs') {
    for (const graph of attribute.value)
      rope.messageField(FIELDS.attributeGraphs, await graphRope(graph, context));
  }
  return rope;
}

/** The small parts of an attribute. */
function attributeContent(attribute: Attribute): MessageInitShape<typeof AttributeProtoSchema> {
  switch (attribute.kind) {
    case 'int':
      return { i: attribute.value };
    case 'float':
      return { f: attribute.value };
    case 'string':
      return { s: encodeUtf8(attribute.value) };
    case 'bytes':
      return { s: attribute.value };
    case 'type':
      return { tp: typeToProto(attribute.value) };
    case 'ints':
      return { ints: [...attribute.value] };
    case 'floats':
      return { floats: [...attribute.value] };
    case 'strings':
      return { strings: attribute.value.map(encodeUtf8) };
    case 'types':
      return { typeProtos: attribute.value.map(typeToProto) };
    case 'reference':
      return { refAttrName: attribute.name };
    case 'tensor':
    case 'tensors':
    case 'graph':
    case 'graphs':
    case 'opaque':
      return {};
  }
}

/** Encodes a local function. */
export async function functionRope(item: ModelFunction, context: WriteContext): Promise<Rope> {
  const { graph } = item;
  const head = create(FunctionProtoSchema, {
    name: item.name,
    input: graph.inputs.map((value) => value.name),
    output: graph.outputs.map((value) => value.name),
    attribute: [...item.attributes],
    ...(item.docString === undefined ? {} : { docString: item.docString }),
    opsetImport: importsToProto(writtenImports(item.opsetImports, [graph], context.opset)),
    domain: item.domain,
    ...(item.overload === '' ? {} : { overload: item.overload }),
    metadataProps: entriesOf(item.props),
  });
  for (const value of graph.values()) {
    if (value.meta.get(valueExtras)?.declared === true && value.type !== undefined)
      head.valueInfo.push(valueInfo(value));
  }
  const rope = new Rope();
  rope.bytes(toBinary(FunctionProtoSchema, head));
  for (const node of graph.nodes()) {
    if (!isDropped(node, context)) rope.messageField(FIELDS.functionNode, await nodeRope(node, context));
  }
  for (const [name, attribute] of item.attributeDefaults) {
    rope.messageField(FIELDS.functionAttribute, await attributeRope(name, attribute, context));
  }
  return rope;
}

/**
 * The opset imports to write: `ai.onnx` at the opset chosen, the domains that carry nodes left out, and version 1 of
 * domains that nodes use though nobody imported them.
 */
export function writtenImports(
  imports: ReadonlyMap<string, number>,
  graphs: readonly Graph[],
  opset: number | undefined,
): ReadonlyMap<string, number> {
  const written = new Map<string, number>();
  const used = new Set<string>();
  for (const graph of graphs)
    for (const node of graph.nodesDeep())
      used.add(carriedOpset(node.domain) === undefined ? node.domain : '');
  const standard = opset ?? imports.get('');
  if (standard !== undefined && (imports.has('') || used.has(''))) written.set('', standard);
  for (const [domain, version] of imports)
    if (domain !== '' && carriedOpset(domain) === undefined) written.set(domain, version);
  for (const domain of used) if (domain !== '' && !written.has(domain)) written.set(domain, 1);
  return written;
}

/** Opset imports as messages. */
export function importsToProto(
  imports: ReadonlyMap<string, number>,
): MessageInitShape<typeof OperatorSetIdProtoSchema>[] {
  return [...imports].map(([domain, version]) => ({ domain, version: BigInt(version) }));
}
