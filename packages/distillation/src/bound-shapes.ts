import { type Dim, inferShapes, type Model, tensorType, type Value } from '@lithe/core';

/** Begins the symbols of sizes that are open in both models. */
const OPEN = 'open_';

/**
 * Copies of two models whose open input sizes have one symbol where one feed decides them, or the number that the other
 * model's input of the same name has: sizes that follow from them can be compared then.
 *
 * @param models not changed
 * @returns the copies, with the shapes that follow
 */
export async function boundTogether(models: readonly [Model, Model]): Promise<readonly [Model, Model]> {
  const sizes = openSizes(models);
  const bound = async (model: Model, index: number): Promise<Model> => {
    const copy = model.clone();
    const { graph } = copy;
    for (const value of graph.inputs) {
      const { dtype, shape } = value;
      if (dtype === undefined || shape === undefined) continue;
      const dims = shape.map((dim, axis) => sizes.get(keyOf(index, value, axis)) ?? dim);
      value.type = tensorType(dtype, dims);
    }
    // What the file says of other values is looser than what now follows from the inputs.
    for (const node of graph.nodesDeep()) for (const output of node.outputs) output.type = undefined;
    await inferShapes(copy, { strict: false });
    return copy;
  };
  return [await bound(models[0], 0), await bound(models[1], 1)];
}

/** Whether a size is a number, or one that follows from open input sizes alone: equal in both models by its text. */
export function isComparable(dim: Dim | undefined): boolean {
  if (typeof dim !== 'string') return typeof dim === 'number';
  // Names of functions are followed by a bracket; what inference could not work out has a symbol of its own.
  const symbols = dim.match(/[A-Za-z_]\w*\b(?!\()/g) ?? [];
  return symbols.every((symbol) => symbol.startsWith(OPEN));
}

/** What names an open size: its symbol in a model, or the place of one without a symbol. */
function keyOf(model: number, { name, shape }: Value, axis: number): string {
  const dim = shape?.[axis];
  return typeof dim === 'string' ? `${model}:${dim}` : `${model}:${name}[${axis}]`;
}

/** A number or a symbol for each open size. */
function openSizes(models: readonly [Model, Model]): ReadonlyMap<string, Dim> {
  const sizes = new Map<string, Dim>();
  const inputs = models.map(({ graph }) => new Map(graph.inputs.map((value) => [value.name, value])));
  const names = new Set(inputs.flatMap((found) => [...found.keys()]));
  const places = [...names].flatMap((name) => {
    const values = inputs.map((found) => found.get(name));
    const rank = Math.max(...values.map((value) => value?.shape?.length ?? 0));
    return Array.from({ length: rank }, (_, axis) => ({ values, axis }));
  });
  /** Gives the sizes of a place in both models what is known of one of them, or what is made up. */
  const settle = ({ values, axis }: (typeof places)[number], madeUp?: string): boolean => {
    const open = values.flatMap((value, index) => {
      const dim = value?.shape?.[axis];
      return value === undefined || dim === undefined || typeof dim === 'number'
        ? []
        : [keyOf(index, value, axis)];
    });
    const fixed = values.map((value) => value?.shape?.[axis]).find((dim) => typeof dim === 'number');
    const size = fixed ?? open.map((key) => sizes.get(key)).find((one) => one !== undefined) ?? madeUp;
    const waiting = open.filter((key) => !sizes.has(key));
    if (size === undefined || waiting.length === 0) return false;
    for (const key of waiting) sizes.set(key, size);
    return true;
  };
  // Numbers that one side has reach all that hangs together with them before symbols are made up.
  const spread = (): void => {
    while (places.filter((place) => settle(place)).length > 0);
  };
  spread();
  for (const [index, place] of places.entries()) if (settle(place, `${OPEN}${index}`)) spread();
  return sizes;
}
