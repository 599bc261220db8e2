import type { InputStatistics } from './input-statistics.ts';
import type { ParsedPattern } from './pattern.ts';
import {
  blockForm,
  blockScores,
  checkScores,
  keepAbove,
  keepAllBut,
  keepInRows,
  keepNOfM,
  spreadBlocks,
  thresholdOf,
} from './select-weights.ts';
import { loadMatrix, type SparseLayer } from './sparse-layer.ts';
import type { SparsityCriterion, SparsityScope } from './sparsity-criterion.ts';

/** How masks are found. */
export interface MaskRequest {
  /** A criterion that scores. */
  readonly criterion: SparsityCriterion;
  /** Where zeros may lie. */
  readonly pattern: ParsedPattern;
  /** Which weights compete. */
  readonly scope: SparsityScope;
  /** Share of zeros in a layer; in a global ranking that of all. */
  ratio(layer: SparseLayer): number;
  /** What a layer was fed, where the criterion needs it. */
  statistics(layer: SparseLayer): InputStatistics | undefined;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

async function scoresOf(layer: SparseLayer, request: MaskRequest): Promise<Float32Array> {
  request.signal.throwIfAborted();
  const matrix = await loadMatrix(layer, request.signal);
  const { criterion, signal } = request;
  const scores = criterion.score?.({ layer, matrix, statistics: request.statistics(layer), signal });
  return checkScores(scores ?? matrix, layer.name);
}

/**
 * Finds the mask of one layer, `[outputs, inputs]`: 1 stays, 0 goes.
 */
export async function maskLayer(layer: SparseLayer, request: MaskRequest): Promise<Uint8Array> {
  const { pattern } = request;
  const scores = await scoresOf(layer, request);
  if (pattern.kind === 'n:m') return keepNOfM(layer, scores, pattern);
  const blocks = blockScores(layer, scores, pattern);
  const ratio = request.ratio(layer);
  const kept =
    request.scope === 'row'
      ? keepInRows(blocks, blockForm(layer, pattern).columns, ratio)
      : await keepAllBut(blocks, Math.round(ratio * blocks.length));
  return spreadBlocks(layer, kept, pattern);
}

/** Finds the masks of all layers, one after the other; for a global ranking each weight is read three times. */
export async function* maskLayers(
  layers: readonly SparseLayer[],
  request: MaskRequest & { readonly share: number },
): AsyncIterable<readonly [SparseLayer, Uint8Array]> {
  const { pattern, scope } = request;
  if (scope !== 'global' || pattern.kind === 'n:m') {
    for (const layer of layers) yield [layer, await maskLayer(layer, request)];
    return;
  }
  const blocksOf = async (layer: SparseLayer): Promise<Float32Array> =>
    blockScores(layer, await scoresOf(layer, request), pattern);
  const every = async function* (): AsyncIterable<Float32Array> {
    for (const layer of layers) yield await blocksOf(layer);
  };
  let total = 0;
  for (const layer of layers) {
    const { rows, columns } = blockForm(layer, pattern);
    total += rows * columns;
  }
  const count = Math.round(request.share * total);
  const threshold = count === 0 ? undefined : await thresholdOf(every, count);
  for (const layer of layers) {
    const blocks = await blocksOf(layer);
    const kept =
      threshold === undefined ? new Uint8Array(blocks.length).fill(1) : keepAbove(blocks, threshold);
    yield [layer, spreadBlocks(layer, kept, pattern)];
  }
}
