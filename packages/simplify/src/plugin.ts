import { definePlugin, type Plugin } from '@lithe/core';
import { simplify } from './passes/simplify.ts';

/** The passes of this package, for recipes. */
export const plugin: Plugin = definePlugin({ name: '@lithe/simplify', passes: [simplify] });
