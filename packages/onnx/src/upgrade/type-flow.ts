import { type Attribute, constantOf, dtypeFromOnnx, type Node, toSafeNumber, type Value } from '@lithe/core';
import { declaredType, parameterAt, schemaAt } from '../schema/schema.ts';

/**
 * What is known of types while a model is brought to another opset: declared types, and those that follow from the
 * operators' definitions at the file's own opset. Ranks follow where an operator keeps the shape of its input.
 * Models seldom declare the types of values in between, and rewriting needs some of them.
 */
export class TypeFlow {
  readonly #types = new Map<Value, string>();
  readonly #ranks = new Map<Value, number>();

  /** Name of the type of a value: a dtype, `seq`, `optional`; `undefined` when it is not known. */
  typeOf = (value: Value): string | undefined => {
    return this.#types.get(value) ?? declaredType(value) ?? constantOf(value)?.dtype;
  };

  /** Rank of a value, if known. */
  rankOf(value: Value): number | undefined {
    return this.#ranks.get(value) ?? value.shape?.length ?? constantOf(value)?.shape.length;
  }

  /** Notes what holds for a value that takes another's place. */
  copy(from: Value, to: Value): void {
    const type = this.typeOf(from);
    if (type !== undefined) this.#types.set(to, type);
    const rank = this.rankOf(from);
    if (rank !== undefined) this.#ranks.set(to, rank);
  }

  /** Works out the types of a node's outputs from its definition at `opset`. */
  visit(node: Node, opset: number): void {
    if (node.domain !== '') return;
    const given = givenType(node);
    const first = node.outputs[0];
    if (given !== undefined && first !== undefined) this.#types.set(first, given);
    const schema = schemaAt(node.opType, opset);
    if (schema === undefined) return;
    const bound = new Map<string, string>();
    node.inputs.forEach((value, index) => {
      const parameter = parameterAt(schema.inputs, index);
      if (value === null || parameter === undefined || parameter.arity === 'mixed') return;
      const type = this.typeOf(value);
      if (type !== undefined && parameter.label !== '') bound.set(parameter.label, type);
    });
    node.outputs.forEach((value, index) => {
      const parameter = parameterAt(schema.outputs, index);
      if (parameter === undefined || parameter.arity === 'mixed' || this.typeOf(value) !== undefined) return;
      const [only] = parameter.types;
      const type = bound.get(parameter.label) ?? (parameter.types.size === 1 ? only : undefined);
      if (type !== undefined) this.#types.set(value, type);
    });
    this.#subgraphTypes(node);
    this.#visitRank(node, first);
  }

  /** What the branches of an `If` hand out, it hands out. */
  #subgraphTypes(node: Node): void {
    if (!node.is('If')) return;
    const branch = node.subgraphs[0]?.[1];
    node.outputs.forEach((value, index) => {
      const inner = branch?.outputs[index];
      const type = inner === undefined ? undefined : this.typeOf(inner);
      if (type !== undefined && this.typeOf(value) === undefined) this.#types.set(value, type);
    });
  }

  #visitRank(node: Node, output: Value | undefined): void {
    if (output === undefined || this.rankOf(output) !== undefined) return;
    const rank = this.#rankAfter(node);
    if (rank !== undefined) this.#ranks.set(output, rank);
  }

  #rankAfter(node: Node): number | undefined {
    const rank = (index: number): number | undefined => {
      const value = node.input(index);
      return value === null ? undefined : this.rankOf(value);
    };
    if (sameRank.has(node.opType)) return rank(0);
    if (broadcasting.has(node.opType)) {
      let largest = 0;
      for (let index = 0; index < node.inputs.length; index++) {
        const one = rank(index);
        if (one === undefined) return undefined;
        largest = Math.max(largest, one);
      }
      return largest;
    }
    switch (node.opType) {
      case 'Gemm':
      case 'Flatten':
        return 2;
      case 'MatMul': {
        const left = rank(0);
        const right = rank(1);
        return left !== undefined && right !== undefined && left >= 2 && right >= 2
          ? Math.max(left, right)
          : undefined;
      }
      case 'Reshape': {
        const shape = node.input(1);
        const known = constantOf(shape)?.shape ?? shape?.shape;
        return typeof known?.[0] === 'number' ? known[0] : undefined;
      }
      case 'Shape':
        return 1;
      default:
        return undefined;
    }
  }
}

const sameRank: ReadonlySet<string> = new Set(
  `Abs AveragePool BatchNormalization Cast Ceil Clip Concat Conv ConvTranspose CumSum DepthToSpace Dropout Elu Erf Exp
  Floor GlobalAveragePool GlobalMaxPool HardSigmoid Hardmax Identity InstanceNormalization LRN LeakyRelu Log LogSoftmax
  LpNormalization LpPool MaxPool Neg Not PRelu Pad Pow Reciprocal Relu Resize Round Selu Sigmoid Sign Slice Softmax
  Softplus Softsign SpaceToDepth Split Sqrt Tanh Tile Transpose Upsample`.split(/\s+/),
);

const broadcasting: ReadonlySet<string> = new Set(
  'Add And Div Equal Greater Less Max Mean Min Mul Or Sub Sum Where Xor'.split(' '),
);

/** The element type that an attribute sets. */
function givenType(node: Node): string | undefined {
  const code = (attribute: Attribute | undefined): string | undefined =>
    attribute?.kind === 'int' ? dtypeFromOnnx(toSafeNumber(attribute.value, 'an element type')) : undefined;
  switch (node.opType) {
    case 'Cast':
      return code(node.attributes.get('to'));
    case 'Constant':
      return node.constantSource()?.dtype;
    case 'ConstantOfShape': {
      const value = node.attributes.get('value');
      return value === undefined ? 'float32' : value.kind === 'tensor' ? value.value.dtype : undefined;
    }
    case 'EyeLike':
    case 'RandomNormal':
    case 'RandomUniform':
    case 'RandomNormalLike':
    case 'RandomUniformLike':
    case 'Multinomial':
      return code(node.attributes.get('dtype'));
    default:
      return undefined;
  }
}
