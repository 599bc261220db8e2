import type { Invariant } from '@lithe/core';

/** Requires that the model is written for an opset of `ai.onnx` that has the operators a pass adds. */
export function opsetAtLeast(version: number): Invariant {
  return {
    name: `opset-at-least-${version}`,
    check: (model) =>
      model.opset >= version
        ? []
        : [
            `The model is written for opset ${model.opset} of ai.onnx and could not be brought to ${version}.`,
          ],
  };
}
