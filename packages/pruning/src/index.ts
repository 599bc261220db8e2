/**
 * Pruning: what matters least in a model is found and removed, and the model stays plain ONNX.
 *
 * @packageDocumentation
 */
export {};
