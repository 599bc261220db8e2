/** A headless Chromium and a static file server for tests and benchmarks. */
export { type BundleOptions, runBundle } from './bundle.ts';
export { type LaunchOptions, launchChromium } from './chromium.ts';
export { openPage, pageErrors } from './page.ts';
export { type FolderServer, type ServeOptions, serveFolders, type VirtualFiles } from './serve.ts';
export { drawTextLines, type TextLineOptions } from './text-lines.ts';
