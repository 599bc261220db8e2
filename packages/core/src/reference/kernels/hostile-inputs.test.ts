import { expect, it } from 'vitest';
import { createRng } from '../../context/rng.ts';
import { isLitheError } from '../../errors/lithe-error.ts';
import { type Attribute, attribute } from '../../ir/attribute.ts';
import { Graph } from '../../ir/graph.ts';
import { standardOps } from '../../ops/standard-ops.ts';
import { type DType, dtypes, elementsOf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import { evaluateNode } from '../evaluate-node.ts';
import { referenceKernels } from './table.ts';

/** Plain inputs of all kinds, most of which no operator takes. */
const common: readonly DType[] = [
  'float32',
  'float32',
  'float32',
  'int64',
  'int64',
  'uint8',
  'int8',
  'int32',
  'bool',
  'string',
  'float16',
  'int4',
  'complex64',
];

it.each(Object.keys(referenceKernels))('%s ends in a result or a typed error, whatever it is fed', (op) => {
  const rng = createRng(11).fork(op);
  const [type, domain] = [op.split('.').at(-1) ?? op, op.includes('.') ? 'com.microsoft' : ''];
  const def = standardOps.get(domain, type);
  for (let trial = 0; trial < 200; trial++) {
    const graph = new Graph();
    const inputs = Array.from({ length: rng.integer((def?.inputs.length ?? 2) + 2) }, (_, index) => {
      if (rng.integer(8) === 0) return null;
      const wanted = def?.inputs[index]?.dtypes ?? [];
      const dtype =
        rng.integer(4) > 0 && wanted.length > 0
          ? wanted[rng.integer(wanted.length)]!
          : common[rng.integer(common.length)]!;
      const shape = Array.from({ length: rng.integer(5) }, () => rng.integer(4));
      const size = elementsOf(shape);
      if (dtype === 'string')
        return Tensor.from(
          'string',
          shape,
          Array.from({ length: size }, () => 'x'),
        );
      if (dtypes[dtype].category === 'complex')
        return Tensor.fromBytes(dtype, shape, new Uint8Array((size * dtypes[dtype].bits) / 8));
      const wild = rng.integer(10) === 0 ? 1e9 : 4;
      return fromNumbers(
        dtype,
        shape,
        Float64Array.from({ length: size }, () => Math.round((rng.next() - 0.3) * wild)),
      );
    });
    const attributes: Record<string, Attribute> = {};
    for (const [name, spec] of Object.entries(def?.attributes ?? {})) {
      const whole = (): number => (rng.integer(20) === 0 ? 2 ** 40 : rng.integer(5) - 1);
      if (!spec.required && rng.integer(2) === 0) continue;
      if (spec.kind === 'int') attributes[name] = attribute.int(whole());
      if (spec.kind === 'ints')
        attributes[name] = attribute.ints(Array.from({ length: rng.integer(5) }, whole));
      if (spec.kind === 'float') attributes[name] = attribute.float(rng.normal());
      if (spec.kind === 'floats') attributes[name] = attribute.floats([rng.normal(), rng.normal()]);
      if (spec.kind === 'string' && typeof spec.default === 'string')
        attributes[name] = attribute.string(spec.default);
      if (spec.kind === 'strings') attributes[name] = attribute.strings(['Tanh', 'x']);
    }
    const values = inputs.map((input, index) => (input === null ? null : graph.addInput(`in${index}`)));
    const node = graph.addNode({ opType: type, domain, inputs: values, attributes }, 1 + rng.integer(3));
    const say = (): string =>
      `trial ${trial}: ${inputs.map(String).join('; ')} ${JSON.stringify(attributes, (_k, v: unknown) => (typeof v === 'bigint' ? Number(v) : v))}`;
    try {
      const outputs = evaluateNode(node, inputs, { maxOutputBytes: 1e6 });
      for (const output of outputs ?? [])
        if (output.dtype !== 'string') expect(output.byteLength, say()).toBeLessThanOrEqual(4e6);
    } catch (error) {
      if (!isLitheError(error)) throw new Error(say(), { cause: error });
      expect(error.code, say()).not.toBe('INTERNAL');
    }
  }
});
