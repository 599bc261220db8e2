import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

/** A running file server. */
export interface FolderServer extends AsyncDisposable {
  /** The address without a slash at the end, `http://localhost:PORT`. */
  readonly url: string;
  /** Stops the server and drops its connections. */
  close(): Promise<void>;
}

/** Text served under a path instead of a file, with the content type of the path's extension. */
export type VirtualFiles = Readonly<Record<string, string>>;

/** What {@link serveFolders} takes. */
export interface ServeOptions {
  /** Pages and scripts that exist only here, by path (`/index.html`). */
  readonly virtual?: VirtualFiles | undefined;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** These two make a page cross-origin isolated, which shared memory, and so WASM threads, ask for. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/**
 * Serves folders over `http://localhost`, cross-origin isolated.
 *
 * @param mounts - folders by path prefix, `{ '/': 'dist', '/models/': '/some/where' }`; the longest prefix wins.
 * @returns the server on a free port; the caller closes it, or `await using` does.
 */
export async function serveFolders(
  mounts: Readonly<Record<string, string>>,
  options: ServeOptions = {},
): Promise<FolderServer> {
  const roots: { readonly prefix: string; readonly folder: string }[] = [];
  for (const [prefix, folder] of Object.entries(mounts)) {
    roots.push({ prefix: prefix.endsWith('/') ? prefix : `${prefix}/`, folder: await realpath(folder) });
  }
  roots.sort((a, b) => b.prefix.length - a.prefix.length);
  const server = createServer((request, response) => {
    answer(request, response, roots, options.virtual ?? {}).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500, isolation).end(String(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    server.closeAllConnections();
    await closed;
  };
  return { url: `http://localhost:${port}`, close, [Symbol.asyncDispose]: close };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  roots: readonly { readonly prefix: string; readonly folder: string }[],
  virtual: VirtualFiles,
): Promise<void> {
  const pathname = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
  const text = virtual[pathname];
  const type = contentTypes[path.extname(pathname)] ?? 'application/octet-stream';
  if (text !== undefined) {
    response.writeHead(200, { ...isolation, 'Content-Type': type }).end(text);
    return;
  }
  const root = roots.find((candidate) => pathname.startsWith(candidate.prefix));
  const file = root && path.join(root.folder, pathname.slice(root.prefix.length));
  // `file` is normalized, so a path that climbs out of the folder no longer starts with it.
  const found = file?.startsWith(`${root?.folder}${path.sep}`)
    ? await stat(file).catch(() => undefined)
    : undefined;
  if (!file || !found?.isFile()) {
    response.writeHead(404, { ...isolation, 'Content-Type': 'text/plain' }).end(`Nothing at ${pathname}`);
    return;
  }
  response.writeHead(200, { ...isolation, 'Content-Type': type, 'Content-Length': found.size });
  await pipeline(createReadStream(file), response);
}
