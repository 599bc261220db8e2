import { errors } from '@lithe/core';

/** What one node cost, over all runs that were recorded. */
export interface NodeProfile {
  /** Node name, as the runtime knows it after its own rewrites. */
  readonly node: string;
  /** Operator, such as `QLinearConv` or `com.microsoft.FusedConv` without its domain. */
  readonly op: string;
  /** Execution provider that ran it, such as `CPUExecutionProvider`. */
  readonly provider: string;
  /** Times it ran. */
  readonly runs: number;
  /** Microseconds of all runs together. */
  readonly microseconds: number;
}

/** What a run cost, node by node. */
export interface RuntimeProfile {
  /** Nodes, dearest first. */
  readonly nodes: readonly NodeProfile[];
  /** Microseconds of all nodes. */
  readonly microseconds: number;
}

/**
 * Reads the profile that onnxruntime writes (a trace in Chrome's format).
 *
 * @throws {LitheError} BACKEND_FAILED when the text is not such a trace
 */
export function parseProfile(text: string): RuntimeProfile {
  let events: unknown;
  try {
    events = JSON.parse(text);
  } catch (cause) {
    throw errors.backendFailed('onnxruntime', 'it wrote a profile that is not JSON.', cause);
  }
  if (!Array.isArray(events))
    throw errors.backendFailed('onnxruntime', 'it wrote a profile that is not a list of events.');
  const byNode = new Map<
    string,
    { node: string; op: string; provider: string; runs: number; microseconds: number }
  >();
  for (const event of events as readonly TraceEvent[]) {
    const { cat, name, dur, args } = event;
    if (cat !== 'Node' || typeof name !== 'string' || !name.endsWith(kernelSuffix)) continue;
    const node = name.slice(0, -kernelSuffix.length);
    const op = String(args?.['op_name'] ?? '');
    const provider = String(args?.['provider'] ?? '');
    const key = `${node}\n${op}\n${provider}`;
    const entry = byNode.get(key) ?? { node, op, provider, runs: 0, microseconds: 0 };
    entry.runs++;
    entry.microseconds += typeof dur === 'number' ? dur : 0;
    byNode.set(key, entry);
  }
  const nodes = [...byNode.values()].sort((a, b) => b.microseconds - a.microseconds);
  return { nodes, microseconds: nodes.reduce((sum, one) => sum + one.microseconds, 0) };
}

const kernelSuffix = '_kernel_time';

interface TraceEvent {
  readonly cat?: unknown;
  readonly name?: unknown;
  readonly dur?: unknown;
  readonly args?: Readonly<Record<string, unknown>>;
}
