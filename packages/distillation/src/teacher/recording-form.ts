import {
  attribute,
  type DType,
  dtypes,
  errors,
  type Graph,
  inferShapes,
  isFloat,
  type Model,
  tensorType,
  type Value,
} from '@lithe/core';
import { sortNodes } from '@lithe/training';

/**
 * A copy of a teacher that gives the named values as float32, and takes floats in the type of the samples.
 *
 * @param model not changed
 * @param names of values, inner ones included
 * @param typeOf dtype of what an input is fed, by its name
 * @throws {LitheError} OPTIONS_INVALID when there is no value, or none of a name
 */
export async function recordingForm(
  model: Model,
  names: readonly string[],
  typeOf: (input: string) => DType | undefined,
): Promise<Model> {
  const probe = model.clone();
  const { graph } = probe;
  const found = names.map((name) => ({ name, value: graph.value(name) }));
  const wrong = found
    .filter(({ value }) => value === undefined)
    .map(({ name }) => `The teacher has no value called "${name}".`);
  if (wrong.length > 0 || names.length === 0)
    throw errors.optionsInvalid(
      'recordTeacher',
      names.length === 0 ? ['There is no value to record.'] : wrong,
    );
  graph.setOutputs(found.flatMap(({ value }) => (value === undefined ? [] : [value])));
  await inferShapes(probe, { strict: false });
  for (const input of graph.inputs) {
    const dtype = typeOf(input.name);
    if (input.initializer === undefined && differs(input, dtype)) castInput(graph, input, dtype);
  }
  for (const output of graph.outputs) if (differs(output, 'float32')) castOutput(graph, output);
  sortNodes(graph);
  return probe;
}

function differs({ dtype: own }: Value, dtype: DType | undefined): dtype is DType {
  return own !== undefined && dtype !== undefined && own !== dtype && isFloat(own) && isFloat(dtype);
}

function castInput(graph: Graph, input: Value, dtype: DType): void {
  const { name, dtype: own = 'float32', shape } = input;
  const attributes = new Map([['to', attribute.int(dtypes[own].onnx)]]);
  graph.rename(input, graph.uniqueName(`${name}_cast`));
  const fed = graph.addInput(name, tensorType(dtype, shape));
  const cast = graph.addNode({ opType: 'Cast', inputs: [fed], attributes }, [{ type: input.type }]);
  graph.replaceAllUses(input, cast.output());
  graph.setInputs(graph.inputs.filter((one) => one !== input));
}

function castOutput(graph: Graph, output: Value): void {
  const { name, shape } = output;
  const attributes = new Map([['to', attribute.int(dtypes.float32.onnx)]]);
  graph.rename(output, graph.uniqueName(`${name}_cast`));
  const cast = graph.addNode({ opType: 'Cast', inputs: [output], attributes }, [
    { name, type: tensorType('float32', shape) },
  ]);
  graph.setOutputs(graph.outputs.map((one) => (one === output ? cast.output() : one)));
}
