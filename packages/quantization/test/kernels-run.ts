import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Feeds, Model } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import type * as ort from 'onnxruntime-node';
import { load, runSession } from './support.ts';

/** A kernel that ran, as the runtime's own profile tells it. */
export interface KernelRun {
  /** Name of the node: what the runtime's own rewrites add to names is taken off. */
  readonly node: string;
  /** Operator that ran. */
  readonly op: string;
  /** Element type of the first input that it was given, such as `float` or `uint8`. */
  readonly from: string;
}

interface Event {
  readonly cat: string;
  readonly name: string;
  readonly args: {
    readonly op_name: string;
    readonly input_type_shape: readonly Readonly<Record<string, unknown>>[];
  };
}

/** A layout for vectors: the runtime names such a node after what it gives. Copies for a layout get a number. */
const added = /_kernel_time$|_nchwc_kernel_time$|(\/MatMulAddFusion)?(_token_\d+)?_kernel_time$/;

/** Runs a model once in onnxruntime on the CPU with profiling on, and tells which kernels ran. */
export async function kernelsRun(model: Model, feeds: Feeds): Promise<readonly KernelRun[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'lithe-kernels-'));
  try {
    const session = (await load(await writeOnnx(model), 'node', {
      enableProfiling: true,
      profileFilePrefix: path.join(folder, 'profile'),
    })) as ort.InferenceSession;
    await runSession(session, feeds);
    session.endProfiling();
    await session.release();
    const [file = ''] = readdirSync(folder);
    const events = JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as readonly Event[];
    // Names of values, for nodes that are named after them.
    const producers = new Map([...model.graph.nodes()].map((node) => [node.outputs[0]?.name, node.name]));
    return events
      .filter(({ cat, name }) => cat === 'Node' && name.endsWith('_kernel_time'))
      .map(({ name, args }) => {
        const node = name.replace(added, '');
        return {
          node: producers.get(node) ?? node,
          op: args.op_name,
          from: Object.keys(args.input_type_shape[0] ?? {})[0] ?? '',
        };
      });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
