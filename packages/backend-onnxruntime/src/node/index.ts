/**
 * What only Node has: onnxruntime-web in a browser that this process starts, and a look at what onnxruntime makes of
 * a model.
 *
 * @packageDocumentation
 */
export { type BrowserOptions, onnxruntimeBrowser } from './browser/open-browser.ts';
export { type OptimizedGraphOptions, optimizedGraph } from './optimized-graph.ts';
