import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Tests run on the sources: `@lithe/source` comes first among the export conditions of every package. */
const conditions = ['@lithe/source', 'module', 'node', 'development|production'];

const shared = {
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
};

/** Without it, tests that compare tensors could not fail. */
const equalTensors = fileURLToPath(new URL('test/equal-tensors.ts', import.meta.url));

const outsideSources = ['**/node_modules/**', '**/dist/**', '**/.doctest/**'];

export default defineConfig({
  ...shared,
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: 'node',
          environment: 'node',
          setupFiles: [equalTensors],
          include: [
            'packages/*/src/**/*.test.ts',
            'packages/*/test/**/*.test.ts',
            'apps/**/*.test.ts',
            'tools/**/*.test.ts',
            'test/*.test.ts',
            'test/onnx-node/**/*.test.ts',
          ],
          exclude: [...outsideSources, '**/*.browser.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Starts a headless Chromium: slow, so it is a project of its own and runs last, one file at a time.
        ...shared,
        test: {
          name: 'browser',
          environment: 'node',
          setupFiles: [equalTensors],
          include: [
            'packages/*/{src,test}/**/*.browser.test.ts',
            'tools/**/*.browser.test.ts',
            'apps/**/*.browser.test.ts',
          ],
          exclude: outsideSources,
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        // Installs the packed tarballs in an empty folder; needs the build.
        ...shared,
        test: {
          name: 'packed',
          environment: 'node',
          setupFiles: [equalTensors],
          include: ['test/packed/**/*.test.ts'],
          exclude: outsideSources,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
