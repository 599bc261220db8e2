/**
 * Reading data from files, in Node.
 *
 * @packageDocumentation
 */
export { fileSource, listFiles } from './files.ts';
export { folderCache } from './folder-cache.ts';
export { loadNpy, loadNpz, type OpenPathOptions, openDataset } from './open.ts';
export { sharpDecoder } from './sharp.ts';
