import type { Model, PassContext, ReportBuilder, ReportTable } from '@lithe/core';
import type { IntegerArray } from '../parameters/kernels.ts';
import { correctEmpirically } from './bias/empirical.ts';
import { fastCorrections } from './bias/fast.ts';
import { readBias, writeBias } from './bias/set-bias.ts';
import { type QuantizedLayer, quantizedLayers } from './draft/quantized-layer.ts';
import type { RecoverySettings } from './options.ts';
import { freeBatchSize, type ProbeSource, probeSource } from './probe/run-over.ts';
import { type LayerQuality, type ModelQuality, measureQuality } from './quality/layer-quality.ts';
import { adaptRounding, type RoundingGain } from './rounding/ada-round.ts';

/** What was learned of layers in one round of quantization, for the next one. */
export interface RecoveryMemory {
  /** Integers of weights whose rounding was learned, by position of the node in the float model. */
  readonly roundings: Map<number, IntegerArray>;
}

/** What {@link recover} works on. */
export interface RecoveryRequest {
  /** The model before it was quantized, from `cloneReference`. Not changed. */
  readonly reference: Model;
  /** The quantized model. Changed in place. */
  readonly quantized: Model;
  /** What is done. */
  readonly settings: RecoverySettings;
  /** Data, backend, randomness, cancellation. */
  readonly context: PassContext;
  /** Receives what was done and what was left alone. */
  readonly report: ReportBuilder;
  /** Kept between rounds. */
  readonly memory: RecoveryMemory;
  /** Name of the pass, for messages. */
  readonly pass: string;
}

/** What {@link recover} found. */
export interface RecoveryOutcome {
  /** Layers with integer weights. */
  readonly layers: readonly QuantizedLayer[];
  /** Error of each layer and of the outputs, when it was measured. */
  readonly quality: ModelQuality | undefined;
}

async function correctFast(
  request: RecoveryRequest,
  layers: readonly QuantizedLayer[],
  source: ProbeSource,
): Promise<number> {
  const { report } = request;
  const { signal } = request.context;
  const correctable = layers.filter((layer) => {
    if (layer.bias.kind === 'none') reportNoBias(report, layer);
    return layer.bias.kind !== 'none';
  });
  const corrections = await fastCorrections(request.reference, correctable, source);
  for (const [index, layer] of correctable.entries()) {
    const bias = await readBias(layer, signal);
    const correction = corrections[index] as Float64Array;
    await writeBias(
      layer,
      bias.map((held, channel) => held + correction[channel]!),
      signal,
    );
  }
  return correctable.length;
}

function reportNoBias(report: ReportBuilder, layer: QuantizedLayer): void {
  report.skip(layer.name, 'no-bias', 'it has no bias that could be corrected');
}

function roundingTable(gains: readonly RoundingGain[]): ReportTable {
  return {
    title: 'Mean squared error of each layer on held-out rows, rounded to nearest and as learned',
    columns: [
      { name: 'layer', unit: '' },
      { name: 'nearest', unit: '' },
      { name: 'learned', unit: '' },
    ],
    rows: gains.map(({ name, nearest, learned }) => [name, nearest, learned]),
    plot: { kind: 'bars', x: 'layer', y: ['nearest', 'learned'] },
  };
}

/** The table of layer errors in reports. */
export function qualityTable(layers: readonly LayerQuality[]): ReportTable {
  return {
    title:
      'Signal to noise of each layer: alone on float inputs, and with the errors of the layers before it',
    columns: [
      { name: 'layer', unit: '' },
      { name: 'operator', unit: '' },
      { name: 'local', unit: 'dB' },
      { name: 'cumulative', unit: 'dB' },
    ],
    rows: layers.map(({ name, opType, localDb, cumulativeDb }) => [name, opType, localDb, cumulativeDb]),
    plot: { kind: 'bars', x: 'layer', y: ['local', 'cumulative'] },
  };
}

/**
 * Wins back what quantization lost, with the float model at hand: learned rounding, then corrected biases, then the
 * error of every layer is measured. Works on any model whose weights are behind `DequantizeLinear`.
 *
 * @throws {LitheError} PASS_NEEDS without data or backend
 */
export async function recover(request: RecoveryRequest): Promise<RecoveryOutcome> {
  const { reference, quantized, settings, context, report, memory } = request;
  const batchSize = freeBatchSize(reference, 32);
  const source: ProbeSource = { ...probeSource(request.pass, context, settings.samples), batchSize };
  const read = (): readonly QuantizedLayer[] => quantizedLayers(reference, quantized);
  if (settings.adaRound !== undefined) {
    const gains = await adaptRounding(reference, quantized, read(), {
      source: { ...source, samples: settings.roundingSamples },
      options: { ...settings.adaRound, beta: [20, 2], warmStart: 0.2, memoryBytes: 2 ** 27 },
      report,
      known: memory.roundings,
    });
    if (gains.length > 0) report.table('rounding', roundingTable(gains));
    if (memory.roundings.size > 0) report.apply(`learn the rounding of ${memory.roundings.size} weights`);
  }
  if (settings.biasCorrection !== 'none') {
    const layers = read();
    const corrected =
      settings.biasCorrection === 'fast'
        ? await correctFast(request, layers, source)
        : await correctEmpirically(reference, quantized, layers, {
            source,
            options: {
              match: settings.matchVariance ? 'variance' : 'mean',
              skip: (layer) => reportNoBias(report, layer),
            },
          });
    if (corrected > 0) report.apply(`correct the biases of ${corrected} layers`);
  }
  const layers = read();
  const quality = settings.layerQuality
    ? await measureQuality(reference, quantized, layers, source)
    : undefined;
  if (quality !== undefined) {
    report.table('layers', qualityTable(quality.layers));
    report.metric('outputSqnr', quality.outputDb, 'dB');
  }
  return { layers, quality };
}
