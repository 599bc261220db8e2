/**
 * What needs files.
 *
 * @packageDocumentation
 */

export { fileRows } from './file-rows.ts';
