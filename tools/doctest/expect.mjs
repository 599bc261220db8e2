import assert from 'node:assert/strict';
import { inspect } from 'node:util';

const flat = (text) => text.replace(/\s+/g, ' ').replace(/"/g, "'").trim();

/**
 * Compares a value with what an example promises, written either as an expression (`[1, 2]`, `'text'`, `2n`) or as
 * Node prints it (`Float32Array(2) [ 1, 2 ]`, `Map(1) { … }`). `…` stands for anything.
 */
export function expectValue(actual, expected, where) {
  const printed = flat(
    inspect(actual, { depth: 8, maxArrayLength: 200, breakLength: Number.POSITIVE_INFINITY }),
  );
  const wanted = flat(expected);
  if (wanted === printed || wanted === flat(String(actual))) return;
  if (wanted.includes('…')) {
    const pattern = wanted.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    if (new RegExp(`^${pattern.join('.*')}$`).test(printed)) return;
  } else {
    const value = evaluate(expected);
    if (value.ok && equal(actual, value.value)) return;
  }
  throw new Error(`${where}: expected ${expected}, got ${printed}`);
}

function evaluate(text) {
  try {
    return { ok: true, value: new Function(`return (${text});`)() };
  } catch {
    return { ok: false };
  }
}

/** Deep equality; a typed array equals a plain array of the same numbers. */
function equal(actual, expected) {
  const plain = ArrayBuffer.isView(actual) && Array.isArray(expected) ? [...actual] : actual;
  try {
    assert.deepStrictEqual(plain, expected);
    return true;
  } catch {
    return false;
  }
}
