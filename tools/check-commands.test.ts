import { describe, expect, it } from 'vitest';
import { commandBlocks } from './check-commands.ts';

describe('commandBlocks', () => {
  it('takes sh fences with their line, and no others', () => {
    const page = '# A\n\n```sh\nls\npwd\n```\n\n```text\nrm x\n```\n\n```sh\ntrue\n```\n';
    expect(commandBlocks('a.md', page)).toEqual([
      { file: 'a.md', line: 4, text: 'ls\npwd\n' },
      { file: 'a.md', line: 13, text: 'true\n' },
    ]);
  });
});
