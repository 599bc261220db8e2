/** The web worker for WebGPU. The package's default entry computes wrong numbers on WebGPU; this entry does not. */
import * as runtime from 'onnxruntime-web/webgpu';
import { createEngine } from './engine.js';
import { probeAdapter, serve } from './web-host.js';

serve((host) => createEngine(host), {
  load: async () => runtime,
  probe: probeAdapter,
  deviceState: true,
});
