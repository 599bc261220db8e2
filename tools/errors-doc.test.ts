import { describe, expect, it } from 'vitest';
import { readCatalogue, readCodes, renderPage } from './errors-doc.ts';

const catalogue = `export const errors = {
  /** A file
   *  is malformed. */
  fileInvalid: (file: string, problem: string): LitheError =>
    new LitheError('FILE_INVALID', \`File "\${file}" at \${String(problem)} is \${file === '' ? 'bad' : 'worse'}.\`, { hint: 'Fetch it again.' }),
  /** A pass threw. */
  passFailed: (cause: unknown, hint: string): LitheError =>
    new LitheError('PASS_FAILED', 'A pass failed.', { hint, cause }),
} as const;`;

describe('readCatalogue', () => {
  it('reads code, comment, message and hint of every factory', () => {
    expect(readCatalogue(catalogue)).toEqual([
      {
        factory: 'fileInvalid',
        code: 'FILE_INVALID',
        summary: 'A file is malformed.',
        message: 'File "{file}" at {problem} is bad.',
        hint: 'Fetch it again.',
      },
      {
        factory: 'passFailed',
        code: 'PASS_FAILED',
        summary: 'A pass threw.',
        message: 'A pass failed.',
        hint: 'Depends on the case.',
      },
    ]);
  });
});

describe('readCodes', () => {
  it('reads the union', () => {
    expect(readCodes("export type ErrorCode = 'A_B' | 'C';")).toEqual(['A_B', 'C']);
  });
});

describe('renderPage', () => {
  it('has a section per code, sorted', () => {
    const page = renderPage([...readCatalogue(catalogue)].reverse());
    expect(page.match(/^## .*$/gm)).toEqual(['## FILE_INVALID', '## PASS_FAILED']);
    expect(page).toContain('> File "{file}" at {problem} is bad.\n\nWhat to do: Fetch it again.');
  });
});
