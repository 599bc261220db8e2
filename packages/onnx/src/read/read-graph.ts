import { create, toBinary } from '@bufbuild/protobuf';
import { type Attribute, Graph, type Value } from '@lithe/core';
import { graphUnknown, nodeExtras, tensorExtras, type ValueExtras, valueExtras } from '../extras.ts';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type NodeProto,
  type SparseTensorProto,
  type TensorProto,
  type ValueInfoProto,
} from '../proto/onnx_pb.ts';
import { invalidModel, propsOf, type ReadContext } from './context.ts';
import { readAttribute } from './read-attribute.ts';
import { readTensor } from './read-tensor.ts';
import { readType } from './read-type.ts';
import { sortNodes } from './sort.ts';

/**
 * Makes a graph from its message: connects values by name, sorts nodes that are out of order, and refuses what is
 * no graph.
 *
 * @throws {LitheError} MODEL_INVALID when names are taken twice or missing, or the nodes form a cycle
 */
export function readGraph(proto: GraphProto, parent: Graph | null, context: ReadContext): Graph {
  const graph = new Graph(proto.name, parent);
  if (proto.docString !== '') graph.docString = proto.docString;
  for (const [key, value] of propsOf(proto.metadataProps)) graph.props.set(key, value);
  if (proto.$unknown !== undefined) graph.meta.set(graphUnknown, proto.$unknown);
  const reader = new GraphReader(graph, context);
  // Before IR version 4, initializers had to be listed as inputs and were constants all the same.
  const constants = new Set(
    context.irVersion < 4 && parent === null ? proto.initializer.map((tensor) => tensor.name) : [],
  );
  for (const input of proto.input) if (!constants.has(input.name)) reader.input(input);
  for (const tensor of proto.initializer) reader.initializer(tensor);
  for (const sparse of proto.sparseInitializer) reader.sparseInitializer(sparse);
  reader.nodes(proto.node);
  for (const info of proto.valueInfo) reader.valueInfo(info);
  for (const input of proto.input) if (constants.has(input.name)) reader.valueInfo(input);
  graph.setOutputs(proto.output.map((output) => reader.output(output)));
  for (const { tensorName, quantParameterTensorNames } of proto.quantizationAnnotation) {
    reader.annotation(tensorName, propsOf(quantParameterTensorNames));
  }
  return graph;
}

/** Fills one graph from messages. */
export class GraphReader {
  readonly #graph: Graph;
  readonly #context: ReadContext;

  /**
   * @param graph the empty graph to fill
   * @param context what the readers share
   */
  constructor(graph: Graph, context: ReadContext) {
    this.#graph = graph;
    this.#context = context;
  }

  /** Adds an input. */
  input(info: ValueInfoProto): void {
    if (info.name === '') throw this.#invalid('An input has no name.');
    this.#free(info.name, 'an input');
    const value = this.#graph.addInput(info.name, readType(info.type, this.#context));
    this.#noteInfo(value, info);
  }

  /** Adds an initializer, or gives an input its default. */
  initializer(proto: TensorProto): void {
    if (proto.name === '') throw this.#invalid('An initializer has no name.');
    const source = readTensor(proto, this.#context);
    const existing = this.#graph.value(proto.name);
    if (source === undefined) {
      if (existing !== undefined)
        throw this.#invalid(`The default of input "${proto.name}" has an element type that is not known.`);
      this.#carry(proto.name, { t: proto, type: AttributeProto_AttributeType.TENSOR }, 'value');
      return;
    }
    if (existing === undefined) {
      const value = this.#graph.addInitializer(proto.name, source);
      this.#noteTensor(value, proto);
      return;
    }
    if (!existing.isGraphInput || existing.initializer !== undefined) {
      throw this.#invalid(`The name "${proto.name}" is taken by two values.`);
    }
    if (existing.dtype !== undefined && existing.dtype !== source.dtype) {
      throw this.#invalid(`Input "${proto.name}" is ${existing.dtype} and its default ${source.dtype}.`);
    }
    const declared = existing.type;
    this.#graph.setInitializer(existing, source);
    // The input may take other shapes than its default has.
    if (declared?.kind === 'tensor' && declared.shape !== undefined) existing.type = declared;
  }

  /** Carries a sparse initializer, as a `Constant` that holds it untouched. */
  sparseInitializer(proto: SparseTensorProto): void {
    const name = proto.values?.name ?? '';
    if (name === '') throw this.#invalid('A sparse initializer has no name.');
    this.#carry(
      name,
      { sparseTensor: proto, type: AttributeProto_AttributeType.SPARSE_TENSOR },
      'sparse_value',
    );
  }

  #carry(
    name: string,
    content: { t?: TensorProto; sparseTensor?: SparseTensorProto; type: AttributeProto_AttributeType },
    attribute: string,
  ): void {
    this.#free(name, 'an initializer');
    const proto = toBinary(
      AttributeProtoSchema,
      create(AttributeProtoSchema, { name: attribute, ...content }),
    );
    const attributes: Record<string, Attribute> = { [attribute]: { kind: 'opaque', proto } };
    this.#graph.addNode({ opType: 'Constant', name: `Constant_${name}`, inputs: [], attributes }, [{ name }]);
  }

  /** Adds nodes, in topological order. */
  nodes(protos: readonly NodeProto[]): void {
    const sorted = sortNodes(protos);
    if ('cycle' in sorted) throw this.#invalid(`The nodes form a cycle through "${sorted.cycle}".`);
    const outputs = new Set<string>();
    for (const { output } of protos) {
      for (const name of output) {
        if (name === '') continue;
        if (outputs.has(name)) throw this.#invalid(`The name "${name}" is made by two nodes.`);
        outputs.add(name);
        this.#free(name, 'the output of a node');
      }
    }
    for (const proto of sorted.order) this.#node(proto);
  }

  #node(proto: NodeProto): void {
    const graph = this.#graph;
    if (proto.opType === '') throw this.#invalid(`Node "${proto.name}" names no operator.`);
    const inputs = proto.input.map((name) => {
      if (name === '') return null;
      const value = graph.value(name, { outer: true });
      if (value === undefined)
        throw this.#invalid(`Node "${proto.name}" (${proto.opType}) reads "${name}", which nothing makes.`);
      return value;
    });
    const attributes = new Map<string, Attribute>();
    for (const attribute of proto.attribute) {
      if (attributes.has(attribute.name)) {
        throw this.#invalid(
          `Node "${proto.name}" (${proto.opType}) has the attribute "${attribute.name}" twice.`,
        );
      }
      attributes.set(
        attribute.name,
        readAttribute(attribute, (inner) => readGraph(inner, graph, this.#context), this.#context),
      );
    }
    const node = graph.addNode(
      {
        opType: proto.opType,
        domain: proto.domain,
        overload: proto.overload,
        name: proto.name,
        docString: proto.docString === '' ? undefined : proto.docString,
        inputs,
        attributes,
      },
      proto.output.map((name) => ({ name })),
    );
    for (const [key, value] of propsOf(proto.metadataProps)) node.props.set(key, value);
    if (proto.deviceConfigurations.length > 0 || proto.$unknown !== undefined) {
      node.meta.set(nodeExtras, {
        deviceConfigurations: proto.deviceConfigurations,
        unknown: proto.$unknown ?? [],
      });
    }
  }

  /** Takes over what the file says of a value in between. */
  valueInfo(info: ValueInfoProto): void {
    const value = this.#graph.value(info.name);
    if (value === undefined) return;
    if (value.initializer === undefined) value.type = readType(info.type, this.#context) ?? value.type;
    this.#noteInfo(value, info);
  }

  /** The value that an output names. */
  output(info: ValueInfoProto): Value {
    const value = info.name === '' ? undefined : this.#graph.value(info.name, { outer: true });
    if (value === undefined) throw this.#invalid(`The output "${info.name}" is made by nothing.`);
    if (value.graph === this.#graph) {
      if (value.initializer === undefined && !value.isGraphInput) {
        value.type = readType(info.type, this.#context) ?? value.type;
      }
      this.#noteInfo(value, info);
    }
    return value;
  }

  /** Keeps a quantization annotation with its value. */
  annotation(name: string, parameters: ReadonlyMap<string, string>): void {
    const value = this.#graph.value(name);
    if (value === undefined) return;
    const known: ValueExtras = value.meta.get(valueExtras) ?? { declared: false, unknown: [] };
    value.meta.set(valueExtras, { ...known, annotation: parameters });
  }

  #noteInfo(value: Value, info: ValueInfoProto): void {
    if (info.docString !== '') value.docString = info.docString;
    for (const [key, text] of propsOf(info.metadataProps)) value.props.set(key, text);
    const known = value.meta.get(valueExtras);
    value.meta.set(valueExtras, {
      ...known,
      declared: true,
      unknown: [...(known?.unknown ?? []), ...(info.$unknown ?? [])],
    });
  }

  #noteTensor(value: Value, proto: TensorProto): void {
    if (proto.docString !== '') value.docString = proto.docString;
    for (const [key, text] of propsOf(proto.metadataProps)) value.props.set(key, text);
    // The value now holds them; only fields that nobody knows stay with the tensor.
    const { initializer } = value;
    if (initializer === undefined) return;
    if (proto.$unknown === undefined) tensorExtras.delete(initializer);
    else
      tensorExtras.set(initializer, {
        name: '',
        docString: undefined,
        props: new Map(),
        unknown: proto.$unknown,
      });
  }

  #free(name: string, what: string): void {
    if (this.#graph.value(name) !== undefined) {
      throw this.#invalid(`The name "${name}" of ${what} is taken already.`);
    }
  }

  #invalid(problem: string): Error {
    return invalidModel(this.#context, problem);
  }
}
