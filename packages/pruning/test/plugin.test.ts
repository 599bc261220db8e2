import { describe, expect, it } from 'vitest';
import * as pruning from '../src/index.ts';

describe('the plugin', () => {
  it('has every pass that the package exports', () => {
    const passes = Object.values(pruning).filter((value) => typeof value === 'function' && 'spec' in value);
    expect(new Set(pruning.plugin.passes)).toEqual(new Set(passes));
    expect(passes.length).toBe(6);
  });
});
