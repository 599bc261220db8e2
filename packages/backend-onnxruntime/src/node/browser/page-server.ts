import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { errors, isLitheError } from '@lithe/core';
import type { MessageCodec, PageCommand, PageEvent } from '../../worker/protocol.ts';

/** These two make a page cross-origin isolated, which shared memory, and so WASM threads, ask for. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
} as const;

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** How long a page waits for a command before it asks again, in milliseconds. */
const pollMilliseconds = 20_000;

const workerFolder = fileURLToPath(new URL('../../worker/', import.meta.url));

/** Entry points of onnxruntime-web by the specifier the workers import. */
const entries: Readonly<Record<string, string>> = {
  'onnxruntime-web/wasm': '/ort/ort.wasm.bundle.min.mjs',
  'onnxruntime-web/webgpu': '/ort/ort.webgpu.bundle.min.mjs',
};

/**
 * Serves the page that hosts workers to a browser on this machine, and carries messages to and from it: commands as
 * the answers to long polls, events as posts. Both are binary. Only who knows the token is answered.
 */
export class PageServer {
  /** Receives what the page tells. */
  onEvent: ((event: PageEvent) => void) | undefined;
  readonly #token = randomUUID();
  readonly #commands: Uint8Array<ArrayBuffer>[][] = [];
  readonly #runtime: string;
  readonly #codec: MessageCodec;
  readonly #server: Server;
  #poll: ServerResponse | undefined;
  #port = 0;

  private constructor(runtime: string, codec: MessageCodec) {
    this.#runtime = runtime;
    this.#codec = codec;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else
          response.writeHead(isLitheError(error, 'FILE_NOT_FOUND') ? 404 : 500, isolation).end(String(error));
      });
    });
  }

  /**
   * Starts a server on a free port of the loopback interface.
   *
   * @throws {LitheError} BACKEND_UNAVAILABLE when onnxruntime-web is not installed
   */
  static async start(backend: string): Promise<PageServer> {
    let entry: string;
    try {
      entry = createRequire(import.meta.url).resolve('onnxruntime-web/wasm');
    } catch (cause) {
      throw errors.backendUnavailable(
        backend,
        'onnxruntime-web is not installed.',
        'Install it: npm install onnxruntime-web.',
        cause,
      );
    }
    // The page's own code, so that both ends speak the same. It is JavaScript, found as the workers are.
    const codec = (await import(new URL('../../worker/codec.js', import.meta.url).href)) as MessageCodec;
    const server = new PageServer(path.dirname(entry), codec);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    server.#port = (server.#server.address() as AddressInfo).port;
    return server;
  }

  /** Address of the page. */
  get url(): string {
    return `http://localhost:${this.#port}/?${this.#token}`;
  }

  /** Sends a command to the page. */
  send(command: PageCommand): void {
    this.#commands.push(this.#codec.encodeMessage(command));
    this.#flush();
  }

  /** Whether the server keeps the process alive. */
  hold(held: boolean): void {
    if (held) this.#server.ref();
    else this.#server.unref();
  }

  /** Stops the server and drops its connections. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    return closed;
  }

  #flush(): void {
    const response = this.#poll;
    if (response === undefined) return;
    const pieces = this.#commands.shift();
    if (pieces === undefined) return;
    this.#poll = undefined;
    const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    response.writeHead(200, {
      ...isolation,
      'Content-Type': 'application/octet-stream',
      'Content-Length': length,
    });
    for (const piece of pieces) response.write(piece);
    response.end();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? '/', 'http://localhost');
    // Connections never keep the process alive: the server itself does, while something is under way.
    request.socket.unref();
    if (pathname === '/') {
      const page = `<!doctype html><title>Lithe</title><script type="module" src="/worker/page.js"></script>`;
      response.writeHead(200, { ...isolation, 'Content-Type': 'text/html; charset=utf-8' }).end(page);
    } else if (pathname === '/command' || pathname === '/event') {
      if (search !== `?${this.#token}`) response.writeHead(403, isolation).end();
      else if (pathname === '/command') this.#wait(response);
      else await this.#receive(request, response);
    } else {
      const { type, body } = await this.#file(pathname);
      response.writeHead(200, { ...isolation, 'Content-Type': type }).end(body);
    }
  }

  #wait(response: ServerResponse): void {
    this.#poll = response;
    const timer = setTimeout(() => {
      if (this.#poll !== response) return;
      this.#poll = undefined;
      response.writeHead(204, isolation).end();
    }, pollMilliseconds);
    timer.unref();
    response.on('close', () => {
      clearTimeout(timer);
      if (this.#poll === response) this.#poll = undefined;
    });
    this.#flush();
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of request as AsyncIterable<Uint8Array>) {
      pieces.push(piece);
      length += piece.byteLength;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.byteLength;
    }
    response.writeHead(204, isolation).end();
    this.onEvent?.(this.#codec.decodeMessage(bytes.buffer) as PageEvent);
  }

  async #file(pathname: string): Promise<{ readonly type: string; readonly body: Uint8Array | string }> {
    const [, place, name] = /^\/(worker|ort)\/([\w.-]+)$/.exec(pathname) ?? [];
    const type = types[path.extname(pathname)];
    if (name === undefined || type === undefined) throw errors.fileNotFound(pathname, 'it is not served.');
    const file = path.join(place === 'worker' ? workerFolder : this.#runtime, name);
    const body = await readFile(file).catch((cause: unknown) => {
      throw errors.fileNotFound(pathname, 'it is not served.', cause);
    });
    if (place !== 'worker') return { type, body };
    // Import maps do not reach workers, so the bare specifiers are replaced by addresses.
    const text = new TextDecoder().decode(body);
    return {
      type,
      body: text.replace(
        /'(onnxruntime-web\/\w+)'/g,
        (_all, specifier: string) => `'${entries[specifier] ?? specifier}'`,
      ),
    };
  }
}
