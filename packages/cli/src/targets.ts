import { errors, type Target } from '@lithe/core';
import type { TargetName } from './options.ts';

/** Makes the target of a name. The packages behind it are loaded only now. */
export async function createTarget(name: TargetName): Promise<Target> {
  switch (name) {
    case 'node-cpu': {
      const { nodeCpuTarget } = await import('@lithe/backend-onnxruntime');
      return nodeCpuTarget();
    }
    case 'wasm': {
      const { wasmTarget } = await import('@lithe/backend-onnxruntime');
      return wasmTarget();
    }
    case 'webgpu': {
      const { webgpuTarget } = await import('@lithe/backend-onnxruntime');
      return webgpuTarget();
    }
    default:
      throw errors.internal(`no target is called "${String(name satisfies never)}"`);
  }
}
