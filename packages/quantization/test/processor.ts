import { Graph, Model, Tensor, tensorType } from '@lithe/core';
import type { KernelTable } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import * as ort from 'onnxruntime-node';
import { saturatingKernels } from '../src/portability/saturating-kernels.ts';

/** 255 * 127 + 255 * 127 as onnxruntime adds them. */
async function twoProducts(): Promise<number> {
  const graph = new Graph('two products');
  const left = graph.addInput('left', tensorType('uint8', [1, 2]));
  const right = graph.addInitializer('right', Tensor.from('int8', [2, 1], Int8Array.of(127, 127)));
  const node = graph.addNode({ opType: 'MatMulInteger', inputs: [left, right] }, [{ name: 'sum' }]);
  graph.setOutputs(node.outputs);
  const session = await ort.InferenceSession.create(await writeOnnx(new Model({ graph })));
  const { sum } = await session.run({ left: new ort.Tensor('uint8', Uint8Array.of(255, 255), [1, 2]) });
  await session.release();
  return Number(sum?.data[0]);
}

const found = await twoProducts();
if (found !== 64770 && found !== 32767) throw new Error(`255 * 127 + 255 * 127 is ${found} here`);

/**
 * Whether this processor adds two products of unsigned and signed bytes in 16 bits, which saturate: x86 with AVX2 or
 * AVX-512 and without VNNI. Tests that need the sum of full-range weights take weights of 7 bits there.
 */
export const processorSaturates: boolean = found === 32767;

/**
 * Kernels with which the reference interpreter adds as onnxruntime does here: saturating ones where the processor
 * saturates. Products of signed bytes with signed ones have exact kernels everywhere.
 */
export const processorKernels: KernelTable = processorSaturates
  ? saturatingKernels(
      () => undefined,
      true,
      () => true,
    )
  : {};
