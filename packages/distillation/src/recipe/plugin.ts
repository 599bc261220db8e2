import { definePlugin, type Plugin } from '@lithe/core';
import { distil } from './distil.ts';
import { initializeFromTeacher } from './initialize-pass.ts';
import { mutual } from './mutual.ts';

/** The passes of this package, for recipes. */
export const plugin: Plugin = definePlugin({
  name: '@lithe/distillation',
  passes: [distil, mutual, initializeFromTeacher],
});
