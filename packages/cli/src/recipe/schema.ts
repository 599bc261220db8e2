import { z } from 'zod';
import { LEAST_ROUNDS, targetNames } from '../options.ts';
import type { Recipe, RecipeTarget } from './recipe.ts';

/** Version of the recipe format that this version reads. */
export const RECIPE_VERSION = 1;

const path = z.string({ error: 'It must be a path' }).min(1, 'The path is empty').max(4096);
const count = z.int().min(1);

/** Names of packages, as npm has them. */
const packageName = z
  .string()
  .max(214)
  .regex(/^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/, 'It must be the name of a package');

/** Names of steps are parts of file names. */
const stepName = z
  .string()
  .regex(
    /^[A-Za-z0-9](?:[\w.-]{0,62}[\w-])?$/,
    'It must be a name of at most 64 letters, digits, "-", "_" and "."',
  );

const dataFile = z.strictObject({
  path: path.describe('Folder or file: .npz, .npy, IDX or images, relative to the recipe.'),
  samples: count
    .optional()
    .describe('How many samples are taken, by chance, the same ones each time; all by default.'),
  part: z
    .string()
    .min(1)
    .optional()
    .describe('Which pair of IDX files, where a folder has several: train, t10k.'),
  preprocess: z
    .union([path, z.record(z.string(), z.unknown())])
    .optional()
    .describe(
      'Image preprocessing, or a JSON file with it; preprocessing.json beside the images by default.',
    ),
});

const dataSource = z.union([path, dataFile]);

const calibration = z.union([path, dataFile.extend({ path: dataFile.shape.path.optional() })]);

const network = z.strictObject({
  network: z
    .string()
    .describe('Ready network of @lithe/training: cnn, mlp, resnet20, …; its weights come from the seed.'),
  with: z.record(z.string(), z.unknown()).optional().describe('Options of the network.'),
});

const modelFile = z.strictObject({
  path: path.describe('ONNX file, relative to the recipe.'),
  shapes: z
    .record(z.string(), z.array(count.max(2 ** 31 - 1)).max(16))
    .optional()
    .describe('Whole shapes of inputs whose sizes the file leaves open, by name.'),
  values: z
    .record(z.string(), z.union([z.number(), z.array(z.number()).min(1).max(10_000)]))
    .optional()
    .describe(
      'Contents of inputs that must not be random, by name, where no data is given: a sampling rate.',
    ),
});

/** How a target is measured unless the recipe says otherwise. */
const measuring: Omit<RecipeTarget, 'name'> = { threads: 1, batches: [1], rounds: 31 };

const target = z.strictObject({
  name: z.enum(targetNames).default('node-cpu').describe('Runtime to compress for and to measure in.'),
  threads: count.max(256).default(measuring.threads).describe('Threads of the runtime.'),
  batches: z
    .array(count.max(65_536))
    .min(1)
    .max(16)
    .default([...measuring.batches])
    .describe('Batch sizes that latency is measured at.'),
  rounds: z
    .int()
    .min(0)
    .max(100_000)
    .refine((rounds) => rounds === 0 || rounds >= LEAST_ROUNDS, {
      error: `Must be 0, or at least ${LEAST_ROUNDS}: fewer have no 95 % interval.`,
    })
    .default(measuring.rounds)
    .describe(
      `Rounds of a measurement, at least ${LEAST_ROUNDS}; in each the models take turns. 0: no latency is measured.`,
    ),
});

const limits = z.strictObject({
  maxDrop: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('Largest loss of the metric against the baseline; 0.01 is one point.'),
  minSmaller: z
    .number()
    .positive()
    .optional()
    .describe('How many times smaller than the baseline the file must be.'),
  minSpeedup: z
    .record(z.string().regex(/^[1-9]\d*$/, 'It must be a batch size'), z.number().positive())
    .optional()
    .describe('How many times faster than the baseline it must be, by batch size.'),
});

const step = z.strictObject({
  name: stepName.optional().describe('Name; by default the last part of `use`, numbered when taken twice.'),
  use: z
    .string()
    .regex(/^[^/@\s]+\/[^/@\s]+(?:@\d+)?$/, 'It must be namespace/name of a pass, such as "training/train"')
    .describe('Pass of a listed plugin: namespace/name or namespace/name@version.'),
  from: z
    .string()
    .optional()
    .describe('Step that it starts from, or `original`; by default the one before that is no control.'),
  control: z.boolean().default(false).describe('Whether it is made only to compare with.'),
  with: z.record(z.string(), z.unknown()).default({}).describe('Options of the pass.'),
});

/** What a recipe may say. */
export const recipeSchema: z.ZodType<Recipe> = z.strictObject({
  $schema: z.string().optional().describe('For editors.'),
  recipe: z.literal(RECIPE_VERSION).describe('Version of the format.'),
  name: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('Title of the report; the name of the file by default.'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .optional()
    .describe('Seed of everything random; 0 by default.'),
  seeds: z
    .array(
      z
        .int()
        .min(0)
        .max(2 ** 32 - 1),
    )
    .min(1)
    .max(100)
    .optional()
    .describe('Several seeds: everything is run for each, and the mean counts.'),
  plugins: z.array(packageName).default([]).describe('Packages whose passes the steps use.'),
  model: z.union([path, modelFile, network]).describe('ONNX file, or a ready network.'),
  data: z
    .strictObject({
      train: dataSource.optional().describe('Labelled samples to train on.'),
      test: dataSource
        .optional()
        .describe('Labelled samples that the metric is taken on; training never sees them.'),
      calibration: calibration
        .optional()
        .describe('Samples for ranges and checks; 256 of `train` by default.'),
    })
    .default({})
    .describe('Samples.'),
  metric: z
    .strictObject({
      output: z
        .string()
        .min(1)
        .max(4096)
        .optional()
        .describe('Output of the model that holds class scores; the first by default.'),
      label: z
        .string()
        .min(1)
        .max(4096)
        .optional()
        .describe('Target of data.test that holds class numbers; "label" by default.'),
    })
    .optional()
    .describe('What the metric, the accuracy, compares.'),
  target: z
    .union([z.enum(targetNames).transform((name): RecipeTarget => ({ name, ...measuring })), target])
    .prefault('node-cpu')
    .describe('Runtime to compress for and to measure in.'),
  baseline: z.string().default('original').describe('Step that the others are compared with.'),
  result: z
    .string()
    .optional()
    .describe('Step whose model is the result; the last one that is no control by default.'),
  output: path
    .optional()
    .describe('File that the result of the first seed is written to, when it keeps the limits.'),
  limits: limits.default({}).describe('What the result must keep; exit code 1 when it does not.'),
  steps: z.array(step).min(1).max(200).describe('Passes, in order.'),
});

/** The JSON Schema of recipes, for editors. */
export function recipeJsonSchema(): Record<string, unknown> {
  return { title: 'Lithe recipe', ...z.toJSONSchema(recipeSchema, { io: 'input', unrepresentable: 'any' }) };
}
