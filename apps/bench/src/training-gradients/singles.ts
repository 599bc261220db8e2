import { elementsOf, Graph, standardOps, Tensor, tensorType, type Value } from '@lithe/core';
import { Emitter } from '@lithe/training';

/** A graph in float32, for operators that the specification does not have in float64. */
interface Single {
  readonly name: string;
  readonly op: string;
  readonly attributes: Readonly<Record<string, number>>;
  readonly graph: Graph;
  /** In the order of the operator; those in float32 learn. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly weights: Tensor<'float32'>;
}

/** Numbers that float32 holds exactly, as it does their products with powers of two: nothing is lost to rounding. */
const spread = (shape: readonly number[], step: number): Tensor<'float32'> => {
  const size = elementsOf(shape);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, (_, index) => (((index * 37 + 11) % 101) - 50) * step),
  );
};

/** Celu, and rounding to integers and back: whole tensors and channels, signed and unsigned, within range and beyond. */
export function singles(): readonly Single[] {
  const shape = [4, 3, 5];
  const make = (
    name: string,
    op: string,
    attributes: Readonly<Record<string, number>>,
    inputs: Readonly<Record<string, Tensor>>,
    emitOutput: (emit: Emitter, values: readonly Value[]) => Value,
  ): Single => {
    const graph = new Graph('single');
    const values = Object.entries(inputs).map(([input, tensor]) =>
      tensor.dtype === 'float32'
        ? graph.addInput(input, tensorType('float32', tensor.shape))
        : graph.addInitializer(input, tensor),
    );
    const emit = new Emitter(graph, standardOps, 'f/');
    const weights = spread(shape, 1 / 8);
    const weighted = emit.mul(emitOutput(emit, values), emit.floats(shape, weights.data));
    const loss = emit.op('ReduceSum', [weighted], { keepdims: 0 });
    graph.rename(loss, 'loss');
    graph.setOutputs([loss]);
    return { name, op, attributes, graph, inputs, weights };
  };
  const x = spread(shape, 0.0703125);
  const rounded = (name: string, scale: Tensor, zero: Tensor, attributes: Readonly<Record<string, number>>) =>
    make(name, 'QuantizeLinear+DequantizeLinear', attributes, { x, scale, zero }, (emit, values) => {
      const [input, s, z] = values as [Value, Value, Value];
      return emit.op(
        'DequantizeLinear',
        [emit.op('QuantizeLinear', [input, s, z], attributes), s, z],
        attributes,
      );
    });
  const tensorScale = Tensor.from('float32', [], Float32Array.of(1 / 64));
  const channelScales = Tensor.from('float32', [3], Float32Array.of(1 / 64, 1 / 16, 1 / 32));
  return [
    make('Celu', 'Celu', { alpha: 0.5 }, { x }, (emit, values) =>
      emit.op('Celu', [...values], { alpha: 0.5 }),
    ),
    rounded('int8, one scale', tensorScale, Tensor.from('int8', [], Int8Array.of(0)), {}),
    rounded('uint8, one scale', tensorScale, Tensor.from('uint8', [], Uint8Array.of(100)), {}),
    rounded('int8, a scale per channel', channelScales, Tensor.from('int8', [3], Int8Array.of(0, 3, -5)), {
      axis: 1,
    }),
  ];
}
