import { definePlugin, type Plugin } from '@lithe/core';
import { activationCheckpointing } from '../memory/activation-checkpointing.ts';
import { train } from './train.ts';

/** The passes of this package, for recipes. */
export const plugin: Plugin = definePlugin({
  name: '@lithe/training',
  passes: [train, activationCheckpointing],
});
