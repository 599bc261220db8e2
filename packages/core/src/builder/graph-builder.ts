import { errors } from '../errors/catalogue.ts';
import { inferShapes } from '../infer/infer-shapes.ts';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model, WORKING_OPSET } from '../ir/model.ts';
import { type Dim, tensorType, type ValueType } from '../ir/types.ts';
import { Value } from '../ir/value.ts';
import type { AttributeSpec, AttributeSpecs } from '../op/attributes.ts';
import type { AnyOpDef, OpDef } from '../op/op-def.ts';
import { OpSet } from '../op/op-set.ts';
import { microsoftOpDefs, standardOpDefs, standardOps } from '../ops/standard-ops.ts';
import type { DType } from '../tensor/dtype.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import { assertValid } from '../verify/verify.ts';
import { encodeAttribute } from './encode-attribute.ts';
import type {
  BuilderInput,
  BuilderNodeOptions,
  MicrosoftSchemas,
  Operators,
  StandardSchemas,
  SubgraphBody,
} from './op-signatures.ts';

/** The attributes that {@link GraphBuilder.call} takes: those of the definition, subgraphs as functions. */
export type CallAttributes<S extends AttributeSpecs> = {
  readonly [K in keyof S]?:
    | (S[K] extends AttributeSpec<infer T> ? (Graph extends T ? SubgraphBody : T) : never)
    | undefined;
};

/**
 * Authors a model in code. Each operator is a method of {@link GraphBuilder.op} with the types of its attributes; an
 * operator with one required output gives a value, others a list. {@link GraphBuilder.build} verifies the model and
 * infers its shapes.
 *
 * @example
 * ```ts
 * import { formatType, GraphBuilder, Tensor } from '@lithe/core';
 *
 * const b = new GraphBuilder('net');
 * const x = b.input('x', 'float32', ['N', 3, 32, 32]);
 * const w = b.constant('w', Tensor.from('float32', [8, 3, 3, 3], new Float32Array(216)));
 * const y = b.op.Conv([x, w], { strides: [2, 2], pads: [1, 1, 1, 1] });
 * b.output('y', b.op.Relu([y]));
 * const model = await b.build();
 * formatType(model.graph.outputs[0]?.type); // => 'float32[N, 8, 16, 16]'
 * ```
 *
 * @example
 * A subgraph is a function that gets a builder of its own; values from around it may be used inside.
 * ```ts
 * import { GraphBuilder } from '@lithe/core';
 *
 * const b = new GraphBuilder('choice');
 * const x = b.input('x', 'float32', ['N']);
 * const up = b.input('up', 'bool', []);
 * const [y] = b.op.If([up], {
 *   then_branch: (body) => [body.op.Exp([x])],
 *   else_branch: (body) => [body.op.Neg([x])],
 * });
 * b.output('y', y!);
 * const model = await b.build();
 * model.graph.nodeCount; // => 1
 * ```
 */
export class GraphBuilder {
  /** The graph so far. Its own methods may be used as well. */
  readonly graph: Graph;
  /** The `ai.onnx` operators. */
  readonly op: Operators<StandardSchemas>;
  /** The `com.microsoft` operators of onnxruntime that Lithe knows. */
  readonly microsoft: Operators<MicrosoftSchemas>;
  readonly #imports: Map<string, number>;
  readonly #definitions: Set<AnyOpDef>;

  /**
   * @param name graph name
   * @param parent the builder around this one, for a subgraph
   */
  constructor(name = 'main', parent?: GraphBuilder) {
    this.graph = new Graph(name, parent?.graph ?? null);
    this.#imports = parent === undefined ? new Map([['', WORKING_OPSET]]) : parent.#imports;
    this.#definitions = parent === undefined ? new Set() : parent.#definitions;
    this.op = this.#operators(standardOpDefs) as Operators<StandardSchemas>;
    this.microsoft = this.#operators(microsoftOpDefs) as Operators<MicrosoftSchemas>;
  }

  /**
   * Adds a tensor input.
   *
   * @param shape dims; a text is a symbol, `null` an unknown size; unknown rank when left out
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  input(name: string, dtype: DType, shape?: readonly Dim[]): Value {
    return this.graph.addInput(name, tensorType(dtype, shape));
  }

  /**
   * Adds an input of any type: a sequence, an optional.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  inputOf(name: string, type: ValueType): Value {
    return this.graph.addInput(name, type);
  }

  /**
   * Adds a constant under a name.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  constant(name: string, source: TensorSource): Value {
    return this.graph.addInitializer(name, source);
  }

  /**
   * Lists a value as the next output, under this name. An `Identity` goes in between where the value cannot be
   * renamed: an input, a constant, or an output already.
   *
   * @returns the output value
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken by another value
   */
  output(name: string, value: Value): Value {
    const free = value.graph === this.graph && value.producer !== null && !value.isGraphOutput;
    const listed = free
      ? value
      : this.graph.addNode({ opType: 'Identity', inputs: [value] }, [{ name, type: value.type }]).output();
    this.graph.rename(listed, name);
    this.graph.setOutputs([...this.graph.outputs, listed]);
    return listed;
  }

  /**
   * Adds a node of any operator definition, a third party's among them. Its domain is imported by the model.
   *
   * @param def the operator
   * @param inputs values, tensors that become initializers, `null` for those left out
   * @param attributes by name, as plain values; subgraphs as functions
   * @returns its outputs
   * @throws {LitheError} ATTRIBUTE_INVALID for an attribute that the operator does not have, or of another kind
   */
  call<S extends AttributeSpecs>(
    def: OpDef<string, S>,
    inputs: readonly BuilderInput[],
    attributes: CallAttributes<S> = {},
    options: BuilderNodeOptions = {},
  ): readonly Value[] {
    return this.#add(def, inputs, attributes, options);
  }

  /**
   * Finishes the model: verifies it against the definitions of its operators and infers all types.
   *
   * @throws {LitheError} MODEL_INVALID listing every problem; SHAPE_MISMATCH when a node contradicts its operator
   */
  async build(): Promise<Model> {
    if (this.graph.parent !== null)
      throw errors.graphEditInvalid('a subgraph is not built by itself', 'Build the model around it.');
    const model = new Model({ graph: this.graph, opsetImports: this.#imports });
    model.producerName = 'lithe';
    const opset = new OpSet([...standardOps, ...this.#definitions]);
    assertValid(model, { opset }, `"${this.graph.name}"`);
    await inferShapes(model, { opset });
    return model;
  }

  #operators(defs: Readonly<Record<string, unknown>>): unknown {
    const operators: Record<string, unknown> = {};
    for (const [type, def] of Object.entries(defs)) {
      operators[type] = (
        inputs: readonly BuilderInput[],
        attributes?: Readonly<Record<string, unknown>>,
        options: BuilderNodeOptions = {},
      ): Value | readonly Value[] => {
        const outputs = this.#add(def as AnyOpDef, inputs, attributes ?? {}, options);
        return options.outputs === undefined && isSingle(def as AnyOpDef) ? (outputs[0] as Value) : outputs;
      };
    }
    return operators;
  }

  #add(
    def: AnyOpDef,
    inputs: readonly BuilderInput[],
    attributes: Readonly<Record<string, unknown>>,
    options: BuilderNodeOptions,
  ): readonly Value[] {
    const { graph } = this;
    const label = options.name ?? def.type;
    if (standardOps.get(def.domain, def.type) !== def) this.#definitions.add(def);
    if (!this.#imports.has(def.domain)) this.#imports.set(def.domain, def.since);
    const encoded = this.#encode(def, attributes, label);
    const count = options.outputs ?? outputCount(def, encoded, label);
    const values = inputs.map((input) => {
      if (input === null || input instanceof Value) return input;
      return graph.addInitializer(graph.uniqueName(`${label}_constant`), input);
    });
    const init = {
      opType: def.type,
      domain: def.domain,
      inputs: values,
      attributes: encoded,
      name: options.name,
    };
    return graph.addNode(init, count).outputs;
  }

  #encode(
    def: AnyOpDef,
    attributes: Readonly<Record<string, unknown>>,
    label: string,
  ): Map<string, Attribute> {
    const encoded = new Map<string, Attribute>();
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined) continue;
      const spec = Object.hasOwn(def.attributes, name) ? def.attributes[name] : undefined;
      if (spec === undefined)
        throw errors.attributeInvalid(label, name, `is not known to operator ${def.type}`);
      if (spec.kind === 'graph' && typeof value === 'function') {
        const body = new GraphBuilder(name, this);
        body.graph.setOutputs((value as SubgraphBody)(body));
        encoded.set(name, attribute.graph(body.graph));
      } else encoded.set(name, encodeAttribute(spec.kind, value, label, name));
    }
    return encoded;
  }
}

/** Whether an operator has just one required output, and that not a variadic one. */
function isSingle(def: AnyOpDef): boolean {
  const required = def.outputs.filter((output) => output.optional !== true);
  return required.length === 1 && required[0]?.variadic === undefined;
}

/** Outputs of a node when nobody says how many. */
function outputCount(def: AnyOpDef, attributes: ReadonlyMap<string, Attribute>, label: string): number {
  const required = def.outputs.filter((output) => output.optional !== true);
  if (def.outputs.at(-1)?.variadic === undefined)
    return required.length === 0 ? def.outputs.length : required.length;
  for (const [name, value] of attributes) {
    if (value.kind !== 'graph') continue;
    // The body of a Loop gives its condition first, which the node does not.
    const hidden = def.domain === '' && def.type === 'Loop' && name === 'body' ? 1 : 0;
    return value.value.outputs.length - hidden;
  }
  const parts = attributes.get('num_outputs');
  if (parts?.kind === 'int') return Number(parts.value);
  throw errors.optionsInvalid(
    `node "${label}"`,
    [`Operator ${def.type} gives any number of outputs.`],
    'Say how many: { outputs: 2 }.',
  );
}
