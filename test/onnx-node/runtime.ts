import {
  type Attribute,
  type DType,
  dtypes,
  Graph,
  Model,
  type NumericArray,
  Tensor,
  tensorType,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import * as ort from 'onnxruntime-node';
import { processorKernels, processorSaturates } from '../../packages/quantization/test/processor.ts';
import { differenceOf, type Tolerance } from './compare.ts';

/** One node, what it reads, and how close the two must be. */
export interface RuntimeCase {
  /** Operator. */
  readonly op: string;
  /** Operator set; `''` by default. */
  readonly domain?: string;
  /** Inputs; `null` where one is left out. */
  readonly inputs: readonly (Tensor | null)[];
  /** Attributes. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Dtypes of the outputs. */
  readonly outputs: readonly DType[];
  /** Inputs that the model holds as initializers. */
  readonly constant?: readonly number[];
  /**
   * Inputs that are signed weights and keep to 7 bits where the processor saturates: for operators that the interpreter
   * has no saturating kernel for.
   */
  readonly weights?: readonly number[];
  /** How far floats may be apart; `{ absolute: 1e-5, relative: 1e-5 }` by default. */
  readonly tolerance?: Tolerance;
  /** By how much integers may differ: runtimes round halves of float32 products in their own order. 0 by default. */
  readonly steps?: number;
}

/** Runs a node here and in onnxruntime. Gives what differs. */
export async function differencesFromRuntime(item: RuntimeCase): Promise<string[]> {
  const graph = new Graph();
  const feeds: Record<string, Tensor> = {};
  const values = item.inputs.map((given, index) => {
    if (given === null) return null;
    const tensor = item.weights?.includes(index) === true ? weightOf(given) : given;
    if (item.constant?.includes(index) === true) return graph.addInitializer(`in${index}`, tensor);
    feeds[`in${index}`] = tensor;
    return graph.addInput(`in${index}`, tensorType(tensor.dtype, tensor.shape));
  });
  const node = graph.addNode(
    { opType: item.op, domain: item.domain, inputs: values, attributes: item.attributes },
    item.outputs.map((dtype, index) => ({ name: `out${index}`, type: tensorType(dtype) })),
  );
  graph.setOutputs(node.outputs);
  const imports: [string, number][] = [['', 21]];
  if (item.domain !== undefined) imports.push([item.domain, 1]);
  const model = new Model({ graph, opsetImports: new Map(imports) });
  const session = await ort.InferenceSession.create(await writeOnnx(model), {
    graphOptimizationLevel: 'disabled',
    intraOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  try {
    const theirs = await session.run(
      Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toRuntime(tensor)])),
    );
    const ours = await evaluateModel(model, feeds, { kernels: processorKernels });
    return item.outputs.flatMap((_, index) => {
      const name = `out${index}`;
      const expected = fromRuntime(theirs[name] as ort.Tensor);
      const actual = within(ours[name] as Tensor, expected, item.steps ?? 0);
      const problem = differenceOf(actual, expected, item.tolerance ?? { absolute: 1e-5, relative: 1e-5 });
      return problem === undefined ? [] : [`${name}: ${problem}`];
    });
  } finally {
    await session.release();
  }
}

/** A signed weight within what the processor adds exactly. */
function weightOf(tensor: Tensor): Tensor {
  if (!processorSaturates) return tensor;
  return Tensor.from(
    'int8',
    tensor.shape,
    Int8Array.from(tensor.data as Int8Array, (level) => level >> 1),
  );
}

function toRuntime(tensor: Tensor): ort.Tensor {
  return new ort.Tensor(tensor.dtype as ort.Tensor.Type, tensor.data as never, tensor.shape);
}

function fromRuntime(tensor: ort.Tensor): Tensor {
  const data = tensor.data as NumericArray;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Tensor.fromBytes(tensor.type as DType, tensor.dims, bytes.slice());
}

/** `actual`, with integers that differ by at most `steps` from `expected` set to it. */
function within(actual: Tensor, expected: Tensor, steps: number): Tensor {
  if (steps === 0 || dtypes[actual.dtype].category === 'float' || actual.size !== expected.size)
    return actual;
  const [ours, theirs] = [actual.toFloat64Array(), expected.toFloat64Array()];
  return ours.every((value, index) => Math.abs(value - (theirs[index] as number)) <= steps)
    ? expected
    : actual;
}
