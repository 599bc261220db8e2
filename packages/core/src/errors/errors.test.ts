import { describe, expect, it } from 'vitest';
import { errors, formatShape, invariant } from './catalogue.ts';
import { isLitheError, LitheError } from './lithe-error.ts';

describe('LitheError', () => {
  it('carries code, message, hint, details and cause', () => {
    const cause = new Error('below');
    const error = errors.dataInvalid('x.npy', 'it is cut off.', 'Copy it again.', cause);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'LitheError',
      code: 'DATA_INVALID',
      message: 'Data "x.npy" cannot be used: it is cut off.',
      hint: 'Copy it again.',
      details: { source: 'x.npy' },
      cause,
    });
    expect(errors.tensorInvalid('x')).not.toHaveProperty('cause');
  });

  it('is recognized by its brand, also from another copy of the package', () => {
    class OtherCopy extends Error {
      readonly '~lithe' = 'error';
      readonly code = 'DISPOSED';
    }
    expect(isLitheError(new OtherCopy())).toBe(true);
    expect(isLitheError(new OtherCopy(), 'DISPOSED')).toBe(true);
    expect(isLitheError(new OtherCopy(), 'INTERNAL')).toBe(false);
    for (const other of [new Error('plain'), { '~lithe': 'error' }, null, 'text'])
      expect(isLitheError(other)).toBe(false);
  });

  it('lists ten problems of a model in its message and all of them in its details', () => {
    const problems = Array.from({ length: 12 }, (_, index) => `Problem ${index}.`);
    const error = errors.modelInvalid(problems, '"net"');
    expect(error.message).toBe(
      `The model "net" is not valid: ${problems.slice(0, 10).join(' ')} (and 2 more)`,
    );
    expect(error.details['problems']).toEqual(problems);
  });

  it('keeps the hint and the error of what failed in a pass', () => {
    const inner = errors.graphEditInvalid('it is used', 'Remove the reader first');
    const error = errors.passFailed('a/b', 2, inner);
    expect([error.hint, error.cause]).toEqual(['Remove the reader first', inner]);
    expect(errors.passFailed('a/b', 2, 'a text').message).toBe('Pass "a/b" (step 2) failed: a text');
  });

  it('says which process holds a folder, where that is known', () => {
    const error = errors.folderLocked('a.run', 'run.lock', 7);
    expect(error).toMatchObject({ code: 'FOLDER_LOCKED', details: { folder: 'a.run', holder: 7 } });
    expect(error.message).toBe('Folder "a.run" is in use by another run (process 7).');
    expect(error.hint).toContain('remove "run.lock"');
    expect(errors.folderLocked('a.run', 'run.lock').message).toBe('Folder "a.run" is in use by another run.');
  });

  it('names every place of a recipe that is wrong, and says what to do about a step that failed', () => {
    const problems = [
      { line: 3, column: 5, message: 'There is no step "a".' },
      { line: 7, column: 1, message: 'The key "b" is there twice.' },
    ];
    const error = errors.recipeInvalid('r.yaml', problems, 'Correct it.');
    expect(error).toMatchObject({ code: 'RECIPE_INVALID', hint: 'Correct it.', details: { problems } });
    expect(error.message).toBe(
      'Recipe "r.yaml" cannot be run:\n  r.yaml:3:5: There is no step "a".\n  r.yaml:7:1: The key "b" is there twice.',
    );
    const inner = errors.graphEditInvalid('it is used', 'Remove the reader first.');
    const failed = errors.recipeFailed('a', 'r.yaml:3:5', inner, 'Run it again.');
    expect(failed).toMatchObject({
      code: 'RECIPE_FAILED',
      hint: 'Remove the reader first. Run it again.',
      cause: inner,
    });
    expect(errors.recipeFailed('a', 'r.yaml:3:5', 'a text', 'Again.')).toMatchObject({
      message: 'Step "a" (r.yaml:3:5) failed: a text',
      hint: 'Again.',
    });
  });
});

describe('invariant', () => {
  it('throws INTERNAL only when the condition does not hold', () => {
    expect(() => invariant(1, 'never')).not.toThrow();
    expect(() => invariant(0, 'the books do not balance')).toThrow(
      expect.objectContaining({ code: 'INTERNAL', message: 'Internal error: the books do not balance.' }),
    );
    expect(new LitheError('INTERNAL', 'x').details).toEqual({});
  });
});

describe('formatShape', () => {
  it('prints dims, symbols, unknown dims and unknown rank', () => {
    expect([formatShape([2, 'N', null]), formatShape([]), formatShape(undefined), formatShape(null)]).toEqual(
      ['[2, N, ?]', '[]', '[unknown rank]', '[unknown rank]'],
    );
  });
});
