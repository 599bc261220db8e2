import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errors } from '@lithe/core';
import type { ChannelEvents, OpenChannel, WorkerChannel } from '../../channel.ts';
import type { PageEvent } from '../../worker/protocol.ts';
import { type BrowserProgram, browserFix } from './find-browser.ts';
import { PageServer } from './page-server.ts';

/** How a browser is started. */
export interface BrowserHostOptions {
  /** Name of the backend, for messages. */
  readonly backend: string;
  /** The browser. */
  readonly program: BrowserProgram;
  /** Which worker it hosts. */
  readonly kind: 'wasm' | 'webgpu';
  /** Whether WebGPU runs on SwiftShader, a device in software: right numbers, times that say nothing of a GPU. */
  readonly softwareGpu: boolean;
}

/** How long a browser may take to start and show the page, in milliseconds. */
const startMilliseconds = 60_000;

/** A headless browser with one page whose workers run models. */
export class BrowserHost {
  readonly #options: BrowserHostOptions;
  readonly #server: PageServer;
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #workers = new Map<number, ChannelEvents>();
  readonly #held = new Set<number>();
  readonly #ready: Promise<Extract<PageEvent, { type: 'ready' }>>;
  readonly #onExit = (): void => {
    this.#child.kill('SIGKILL');
    try {
      rmSync(this.#profile, { recursive: true, force: true });
    } catch (error) {
      // A browser that is still dying writes on; what it leaves lies in the system's temporary folder.
      if ((error as { code?: unknown }).code === undefined) throw error;
    }
  };
  #errors = '';
  #nextId = 0;
  #ended: string | undefined;
  #product = '';

  private constructor(options: BrowserHostOptions, server: PageServer, profile: string) {
    this.#options = options;
    this.#server = server;
    this.#profile = profile;
    const { program, kind, softwareGpu } = options;
    this.#child = spawn(program.executable, [...switches(profile, kind, softwareGpu), server.url], {
      env: { ...process.env, ...program.environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    process.on('exit', this.#onExit);
    this.#child.stderr?.on('data', (chunk: Uint8Array) => {
      this.#errors = (this.#errors + new TextDecoder().decode(chunk)).slice(-4000);
    });
    this.#ready = new Promise((resolve, reject) => {
      const fail = (reason: string, cause?: unknown): void => {
        this.#end(reason);
        reject(errors.backendUnavailable(options.backend, reason, browserFix, cause));
      };
      const timer = setTimeout(
        () => fail(this.#withOutput('the browser did not show its page in time.')),
        startMilliseconds,
      );
      this.#child.on('error', (cause) => fail(`the browser could not be started: ${cause.message}.`, cause));
      this.#child.on('exit', (code, signal) => {
        clearTimeout(timer);
        fail(this.#withOutput(`the browser ended (${code === null ? String(signal) : `code ${code}`}).`));
      });
      server.onEvent = (event) => {
        if (event.type === 'ready') {
          clearTimeout(timer);
          resolve(event);
        } else if (event.type === 'reply') this.#workers.get(event.worker)?.onReply(event.reply);
        else this.#workers.get(event.worker)?.onLost(`its worker crashed: ${event.reason}.`);
      };
    });
  }

  /**
   * Starts a browser and waits for its page.
   *
   * @throws {LitheError} BACKEND_UNAVAILABLE when it does not start
   */
  static async start(options: BrowserHostOptions): Promise<BrowserHost> {
    const server = await PageServer.start(options.backend);
    const profile = await mkdtemp(path.join(tmpdir(), 'lithe-browser-'));
    const host = new BrowserHost(options, server, profile);
    try {
      const { userAgent } = await host.#ready;
      const [, name, version] = /(Chrome|Chromium|Edg)\/(\d+)/.exec(userAgent.replace('Headless', '')) ?? [];
      host.#product = name === undefined ? 'a browser' : `Chromium ${version}`;
      host.#hold();
      return host;
    } catch (error) {
      await host.close();
      throw error;
    }
  }

  /** The browser and its version. */
  get product(): string {
    return this.#product;
  }

  /** Starts a worker in the page. */
  readonly open: OpenChannel = (events): WorkerChannel => {
    const id = this.#nextId++;
    if (this.#ended !== undefined) {
      throw errors.backendFailed(this.#options.backend, this.#ended);
    }
    this.#workers.set(id, events);
    this.#server.send({ type: 'start', worker: id, kind: this.#options.kind });
    return {
      // The arrays are written to a socket: they are not given away, only not used again.
      post: (message) => this.#server.send({ type: 'message', worker: id, message }),
      hold: (held) => {
        if (held) this.#held.add(id);
        else this.#held.delete(id);
        this.#hold();
      },
      stop: () => {
        if (this.#workers.delete(id)) this.#server.send({ type: 'stop', worker: id });
        this.#held.delete(id);
        this.#hold();
        return Promise.resolve();
      },
    };
  };

  /** Ends the browser and removes what it wrote. */
  async close(): Promise<void> {
    process.off('exit', this.#onExit);
    this.#end('the browser was closed.');
    // Whoever closes it waits for its end, so the process has to.
    this.#child.ref();
    const ended =
      this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined
        ? Promise.resolve()
        : new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
    await this.#server.close();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    for (const events of this.#workers.values()) events.onLost(reason);
    this.#workers.clear();
  }

  #hold(): void {
    const held = this.#held.size > 0;
    this.#server.hold(held);
    if (held) this.#child.ref();
    else this.#child.unref();
    // The end of a pipe is a socket, which keeps the process alive as well.
    const { stderr } = this.#child;
    if (!(stderr instanceof Socket)) return;
    if (held) stderr.ref();
    else stderr.unref();
  }

  #withOutput(reason: string): string {
    const output = this.#errors.trim().split('\n').slice(-3).join(' ');
    return output === '' ? reason : `${reason} Its last words: ${output}`;
  }
}

function switches(profile: string, kind: 'wasm' | 'webgpu', softwareGpu: boolean): readonly string[] {
  const gpu =
    kind === 'wasm'
      ? ['--disable-gpu']
      : softwareGpu
        ? [
            '--enable-unsafe-webgpu',
            '--use-webgpu-adapter=swiftshader',
            '--enable-features=Vulkan',
            '--ignore-gpu-blocklist',
          ]
        : ['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--ignore-gpu-blocklist'];
  return [
    '--headless',
    // The page is our own and local; the sandbox cannot be had as root or in most containers.
    ...(process.platform === 'linux' ? ['--no-sandbox'] : []),
    // A headless shell without a debugging port leaves as soon as the page has loaded.
    '--remote-debugging-port=0',
    `--user-data-dir=${profile}`,
    '--no-first-run',
    '--no-default-browser-check',
    '--disable-background-networking',
    '--disable-background-timer-throttling',
    '--disable-renderer-backgrounding',
    '--disable-component-update',
    '--disable-default-apps',
    '--disable-dev-shm-usage',
    '--disable-extensions',
    '--disable-quic',
    '--disable-sync',
    '--mute-audio',
    ...gpu,
  ];
}
