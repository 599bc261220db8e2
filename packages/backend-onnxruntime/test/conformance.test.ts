import { backendConformance } from '@lithe/testkit';
import { describe, it } from 'vitest';
import { onnxruntimeNode, onnxruntimeWeb } from '../src/index.ts';

describe('onnxruntime-node', () => {
  backendConformance(() => onnxruntimeNode({ threads: 1 }), { describe, it });
});

describe('onnxruntime-web in Node', () => {
  backendConformance(() => onnxruntimeWeb({ threads: 1 }), { describe, it });
});
