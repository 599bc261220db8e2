import { describe, expect, it } from 'vitest';
import { publicApi } from '../tools/lib/public-api.ts';
import { packageNames } from '../tools/lib/sources.ts';

// An intended change: npx vitest run --project node test/public-api.test.ts --update
describe('public API', () => {
  const apis = publicApi(packageNames());

  for (const name of packageNames()) {
    it(`of @lithe/${name} is the one on record`, async () => {
      await expect(apis.get(name)).toMatchFileSnapshot(`./api/${name}.txt`);
    });
  }
});
