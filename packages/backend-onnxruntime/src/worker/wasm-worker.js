/** The web worker for WASM. */
import * as runtime from 'onnxruntime-web/wasm';
import { createEngine } from './engine.js';
import { serve } from './web-host.js';

serve((host) => createEngine(host), {
  load: async () => runtime,
});
