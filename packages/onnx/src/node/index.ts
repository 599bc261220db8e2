/**
 * ONNX files on disk, for Node: external data is read when it is needed and written tensor by tensor.
 *
 * @packageDocumentation
 */
export { type LoadOptions, loadOnnx } from './load-onnx.ts';
export { type ExternalChoice, type SaveOptions, type SaveReport, saveOnnx } from './save-onnx.ts';
