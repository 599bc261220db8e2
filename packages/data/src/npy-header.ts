import { type DType, elementsOf, errors } from '@lithe/core';

/** What the header of an NPY file says. */
export interface NpyHeader {
  /** Element type in Lithe. */
  readonly dtype: DType;
  /** Dims, outermost first. */
  readonly shape: readonly number[];
  /** Whether the elements are in Fortran order: first axis fastest. */
  readonly fortran: boolean;
  /** Whether numbers are big-endian. */
  readonly bigEndian: boolean;
  /** Bytes of one element in the file. */
  readonly itemBytes: number;
  /** Bytes of one number in an element: half of it for complex, 4 for text. */
  readonly unitBytes: number;
  /** How a text element is held: UCS-4 or bytes. */
  readonly text: 'ucs4' | 'bytes' | undefined;
  /** Where the elements begin. */
  readonly offset: number;
}

/** Bytes that are enough to hold the header of any file that is accepted. */
export const maxHeaderBytes = 65_552;

const plain: Readonly<Record<string, DType>> = {
  b1: 'bool',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  c8: 'complex64',
  c16: 'complex128',
};

/**
 * Reads the header of an NPY file, versions 1.0 to 3.0.
 *
 * @param head the first bytes of the file: all of them, or at least {@link maxHeaderBytes}
 * @param name for messages
 * @throws {LitheError} DATA_INVALID when it is not an NPY file or holds what is no tensor (objects, records, dates)
 * @see NumPy documentation, "numpy.lib.format"
 */
export function parseNpyHeader(head: Uint8Array, name: string): NpyHeader {
  const invalid = (problem: string, hint?: string): Error => errors.dataInvalid(name, problem, hint);
  if (head.length < 10 || head[0] !== 0x93 || latin(head.subarray(1, 6)) !== 'NUMPY') {
    throw invalid('it does not begin like an NPY file.');
  }
  const version = head[6] as number;
  if (version < 1 || version > 3) throw invalid(`its NPY version is ${version}; versions 1 to 3 are known.`);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const start = version === 1 ? 10 : 12;
  if (head.length < start) throw invalid('its header is cut off.');
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const offset = start + length;
  if (offset > maxHeaderBytes)
    throw errors.limitExceeded('header bytes', maxHeaderBytes, offset, `File "${name}"`);
  if (head.length < offset) throw invalid('its header is cut off.');
  const text = latin(head.subarray(start, offset));
  if (/'descr'\s*:\s*\[/.test(text))
    throw invalid('it holds records, not plain numbers.', 'Save one array per field.');
  const descr = /'descr'\s*:\s*(['"])(.*?)\1/.exec(text)?.[2];
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1];
  const dims = /'shape'\s*:\s*\(([\d\sL,]*)\)/.exec(text)?.[1];
  if (descr === undefined || fortran === undefined || dims === undefined)
    throw invalid('its header is malformed.');
  const shape = dims
    .split(',')
    .map((dim) => dim.trim().replace(/L$/, ''))
    .filter((dim) => dim !== '')
    .map(Number);
  if (!shape.every(Number.isSafeInteger) || !Number.isSafeInteger(elementsOf(shape) * 16)) {
    throw invalid('its shape is absurdly large.');
  }
  return { ...parseDescr(descr, invalid), shape, fortran: fortran === 'True', offset };
}

function parseDescr(
  descr: string,
  invalid: (problem: string, hint?: string) => Error,
): Pick<NpyHeader, 'dtype' | 'bigEndian' | 'itemBytes' | 'unitBytes' | 'text'> {
  const [, order, kind, digits] = /^([<>|=]?)([a-zA-Z])(\d*)$/.exec(descr) ?? [];
  const bigEndian = order === '>';
  const count = Number(digits);
  if (kind === 'U' && count <= 2 ** 20) {
    return { dtype: 'string', bigEndian, itemBytes: count * 4, unitBytes: 4, text: 'ucs4' };
  }
  if (kind === 'S' && count <= 2 ** 22) {
    return { dtype: 'string', bigEndian: false, itemBytes: count, unitBytes: 1, text: 'bytes' };
  }
  const code = `${kind ?? ''}${digits ?? ''}`;
  const dtype = Object.hasOwn(plain, code) ? plain[code] : undefined;
  if (dtype === undefined) {
    throw invalid(
      `its elements are of NumPy type "${descr}", which has no tensor type.`,
      kind === 'O'
        ? 'Save numbers, not Python objects: unpickling a file could run any code.'
        : 'Convert it to float32.',
    );
  }
  const complex = kind === 'c';
  return { dtype, bigEndian, itemBytes: count, unitBytes: complex ? count / 2 : count, text: undefined };
}

function latin(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
