import type { Value } from '@lithe/core';

/**
 * What was made of weights, so that a weight that several nodes read is stored once. A weight can be needed in two
 * forms (as it is and transposed), so each form has its own entry.
 */
export class SharedWeights<T> {
  readonly #made = new Map<Value, Map<string, T>>();
  #size = 0;

  /** Number of entries. */
  get size(): number {
    return this.#size;
  }

  /** The entry of a weight in one form, made at the first call. */
  get(weight: Value, form: string, make: () => T): T {
    let forms = this.#made.get(weight);
    if (forms === undefined) {
      forms = new Map();
      this.#made.set(weight, forms);
    }
    let made = forms.get(form);
    if (made === undefined) {
      made = make();
      forms.set(form, made);
      this.#size++;
    }
    return made;
  }
}
