import { expect, it } from 'vitest';
import {
  type ArtifactStore,
  createPassContext,
  definePass,
  definePlugin,
  GraphBuilder,
  type Model,
  optimize,
  type PassContext,
  ReportBuilder,
  type StandardOptions,
} from '../index.ts';

const numbered: StandardOptions<{ to?: number }, { to: number }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => {
      const { to = 1 } = value as { to?: number };
      return typeof to === 'number'
        ? { value: { to } }
        : { issues: [{ message: 'no number', path: ['to'] }] };
    },
  },
};

const looking = (look: (context: PassContext) => Promise<void>) =>
  definePass({
    name: 'test/look',
    version: 1,
    summary: 'Looks at its context.',
    options: numbered,
    preserves: 'bitwise',
    run: async (_draft, _options, context) => {
      await look(context);
      return new ReportBuilder().build();
    },
  });

async function identity(): Promise<Model> {
  const builder = new GraphBuilder('identity');
  builder.output('y', builder.op.Identity([builder.input('x', 'float32', [1])]));
  return await builder.build();
}

it('makes steps from data, checked by the schema of the pass', () => {
  const pass = looking(() => Promise.resolve());
  const plugin = definePlugin({ name: 'test', passes: [pass] });
  const [listed] = plugin.passes;
  expect(listed?.from({ to: 3 }).options).toEqual({ to: 3 });
  expect(() => listed?.from({ to: 'three' })).toThrow(
    expect.objectContaining({ code: 'OPTIONS_INVALID' }) as Error,
  );
});

it('refuses two passes of one name', () => {
  const pass = looking(() => Promise.resolve());
  expect(() => definePlugin({ name: 'test', passes: [pass, pass] })).toThrow(/"test\/look" is listed twice/);
});

it('gives passes the original and named models, and a place to keep things', async () => {
  const [model, teacher] = [await identity(), await identity()];
  const kept = new Map<string, Uint8Array>();
  const store = (name: string): ArtifactStore => ({
    read: () => Promise.resolve(kept.get(name)),
    write: (bytes) => {
      kept.set(name, bytes);
      return Promise.resolve();
    },
  });
  const seen: Model[] = [];
  const look = looking(async (context) => {
    seen.push(await context.modelNamed('original'), await context.modelNamed('teacher'));
    await context.store('half')?.write(Uint8Array.of(1, 2));
  });
  await optimize(model, [look()], { models: { teacher: () => Promise.resolve(teacher) }, store });
  expect(seen[0]).toBe(model);
  expect(seen[1]).toBe(teacher);
  expect(kept.get('half')).toEqual(Uint8Array.of(1, 2));
});

it('names the models there are when one is asked for that is not', async () => {
  const look = looking(async (context) => {
    await context.modelNamed('toString');
  });
  await expect(optimize(await identity(), [look()])).rejects.toMatchObject({
    code: 'PASS_FAILED',
    cause: { code: 'OPTIONS_INVALID', hint: 'There are original.' },
  });
  expect(createPassContext().store('anything')).toBeUndefined();
});

it('tells from the options of a step which models it will ask for', () => {
  const taught = definePass({
    name: 'test/taught',
    version: 1,
    summary: 'Asks for a teacher.',
    options: {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => ({ value: value as { teacher: string } }),
      },
    } satisfies StandardOptions<{ teacher: string }, { teacher: string }>,
    preserves: 'bitwise',
    models: ({ teacher }) => [teacher],
    run: () => new ReportBuilder().build(),
  });
  expect(taught({ teacher: 'large' }).models).toEqual(['large']);
  expect(looking(() => Promise.resolve())().models).toEqual([]);
});

it('lets options decide how much a pass may change', () => {
  const pass = definePass({
    name: 'test/careful',
    version: 1,
    summary: 'Is careful by 1.',
    options: numbered,
    preserves: ({ to }) => (to === 1 ? 'bitwise' : 'accuracy'),
    run: () => new ReportBuilder().build(),
  });
  expect(pass().preserves).toBe('bitwise');
  expect(pass.from({ to: 2 }).preserves).toBe('accuracy');
});
