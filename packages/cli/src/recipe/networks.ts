import type { Model } from '@lithe/core';
import { z } from 'zod';

const size = z.int().min(1).max(1_000_000);
const share = z.number().min(0).max(1);
const image = z.tuple([size, size, size]);
const classes = { classes: size.optional() };
const images = { ...classes, image: image.optional() };

/** A ready network of `@lithe/training`. */
export interface ReadyNetwork {
  /** Its options, without the seed. */
  readonly options: z.ZodObject;
  /** Builds it; the package behind it is loaded only now. */
  readonly build: (options: Record<string, unknown>, seed: number) => Promise<Model>;
}

type Builders = typeof import('@lithe/training');
type NetworkName = 'cnn' | 'resnet20' | 'resnet56' | 'mobileNetV2' | 'mlp' | 'transformerEncoder';

function network(name: NetworkName, shape: z.ZodRawShape): ReadyNetwork {
  return {
    options: z.strictObject(shape),
    build: async (options, seed) => {
      const builders: Pick<Builders, NetworkName> = await import('@lithe/training');
      return builders[name]({ ...options, seed });
    },
  };
}

/** The networks that a recipe can start from, by name. */
export const readyNetworks: Readonly<Record<NetworkName, ReadyNetwork>> = {
  cnn: network('cnn', images),
  resnet20: network('resnet20', images),
  resnet56: network('resnet56', images),
  mobileNetV2: network('mobileNetV2', {
    ...images,
    width: z.number().positive().max(10).optional(),
    dropout: share.optional(),
  }),
  mlp: network('mlp', { ...classes, inputs: size.optional(), hidden: z.array(size).max(100).optional() }),
  transformerEncoder: network('transformerEncoder', {
    ...classes,
    vocabulary: size.optional(),
    length: size.optional(),
    depth: size.max(1000).optional(),
    width: size.optional(),
    heads: size.optional(),
    dropout: share.optional(),
  }),
};

/** The network of a name, if there is one. */
export function readyNetwork(name: string): ReadyNetwork | undefined {
  return Object.hasOwn(readyNetworks, name) ? readyNetworks[name as NetworkName] : undefined;
}
