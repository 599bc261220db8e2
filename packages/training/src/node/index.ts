/**
 * What training needs of Node: checkpoints in files.
 *
 * @packageDocumentation
 */
export { fileCheckpoints } from './file-checkpoints.ts';
