import {
  definePass,
  errors,
  inferShapes,
  type Model,
  type Pass,
  type PassContext,
  ReportBuilder,
} from '@lithe/core';
import { observe } from '../calibration/observe.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { opsetAtLeast } from '../graph/opset-at-least.ts';
import { reportUnknown } from '../graph/report-unknown.ts';
import { layersToReduce, simulateSaturation } from '../portability/simulate.ts';
import { quantizeRecovered } from '../recovery/recovered-quantization.ts';
import { SharedWeights } from '../weights/shared.ts';
import type { QuantizedTable } from './dynamic-context.ts';
import { quantizeEmbedding } from './dynamic-embedding.ts';
import { convertToIntegerOperators } from './integer-operators/convert.ts';
import { operatorKind } from './static/operator-kinds.ts';
import { prepareProductBiases } from './static/product-bias.ts';
import { quantizeGraph } from './static/quantize-graph.ts';
import { type StaticInt8Options, type StaticInt8Settings, staticInt8Schema } from './static/settings.ts';
import { storeTransposed } from './static/transposed.ts';

const name = 'quantization/static-int8';

/** The values whose ranges a plan may need. */
function rangesNeeded(model: Model): readonly string[] {
  const names = new Set<string>();
  for (const node of model.graph.nodes()) {
    if (operatorKind(node) === undefined) continue;
    for (const value of [...node.inputs, ...node.outputs]) {
      if (value !== null && value.name !== '' && value.graph === model.graph) names.add(value.name);
    }
  }
  return [...names];
}

async function statsFor(
  draft: Model,
  settings: StaticInt8Settings,
  context: PassContext,
): Promise<CalibrationStats> {
  if (settings.stats !== undefined) return settings.stats;
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(data === undefined ? ['data'] : []), ...(backend === undefined ? ['backend'] : [])];
    throw errors.passNeeds(name, missing);
  }
  const { samples, memoryBytes } = settings;
  return observe(draft, data, { backend, context, samples, memoryBytes, values: rangesNeeded(draft) });
}

function reportRest(draft: Model, settings: StaticInt8Settings, report: ReportBuilder): void {
  for (const node of draft.graph.nodesDeep()) {
    if (node.graph !== draft.graph && operatorKind(node) === 'anchor') {
      const reason = 'its activations are inside a subgraph, where ranges are not observed';
      report.skip(node.name, 'subgraph', reason);
    }
    if (node.graph !== draft.graph || node.domain !== '') continue;
    if (
      ['LSTM', 'GRU', 'RNN'].includes(node.opType) ||
      (node.is('ConvTranspose') && settings.transposed === 'float')
    )
      report.skip(node.name, 'no-kernel', `onnxruntime has no static integer ${node.opType}`);
  }
}

/** Layers that processors without VNNI would saturate, found on the context's data. */
async function saturatingLayers(
  quantized: Model,
  format: StaticInt8Settings['format'],
  context: PassContext,
  report: ReportBuilder,
): Promise<readonly string[]> {
  if (context.data === undefined) throw errors.passNeeds(name, ['data']);
  const found = await simulateSaturation(quantized, context.data, { format, context });
  const layers = layersToReduce(found);
  report.metric('saturatingLayers', layers.length, 'layers');
  // Infinity, where nothing saturates, has no form in JSON.
  if (Number.isFinite(found.outputSqnrDb)) report.metric('saturatedOutputSqnr', found.outputSqnrDb, 'dB');
  return layers;
}

/** Tables that rows are read of, which need no ranges. */
function storeTables(draft: Model, settings: StaticInt8Settings, report: ReportBuilder): void {
  const context = { minimumElements: 1024, tables: new SharedWeights<QuantizedTable>() };
  for (const node of [...draft.graph.nodesDeep()])
    if (node.is('Gather') && !settings.exclude.includes(node.name)) quantizeEmbedding(node, context, report);
}

/**
 * Computes convolutions and matrix products in 8-bit integers with activation ranges found beforehand on real inputs
 * (`QuantizeLinear`/`DequantizeLinear` pairs, which the runtime fuses to integer kernels, or integer operators for old
 * runtimes). Weights are signed with a scale per output channel, biases int32, activations unsigned on x86. Operators
 * between two integer nodes run in integers too; a `Relu` or `Clip` disappears into the range of its output. Everything
 * else, and the model's inputs and outputs, stay float. {@link explain} says what a target makes of the result.
 *
 * onnxruntime quantizes float convolutions between two pairs on its own, with one scale for all their weights, which
 * ruins depthwise ones. Where this pass leaves one in float, it expands its input with a scale per channel, all equal,
 * so that it stays so.
 *
 * Ranges come from `stats` or, without them, from the context's data and backend.
 *
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018
 *
 * @example
 * ```ts
 * import { staticInt8 } from '@lithe/quantization';
 *
 * staticInt8({ activations: 'uint8' }).name; // => 'quantization/static-int8'
 * ```
 */
export const staticInt8: Pass<StaticInt8Options, StaticInt8Settings> = definePass({
  name,
  version: 1,
  summary: 'Computes convolutions and matrix products in 8-bit integers, with ranges found on real inputs.',
  options: staticInt8Schema,
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run: async (draft, settings, context) => {
    const report = new ReportBuilder();
    reportUnknown(draft.graph.nodesDeep(), { exclude: settings.exclude }, report);
    await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
    const closed = prepareProductBiases(draft.graph);
    const stats = await statsFor(draft, settings, context);
    const reduced = new Set<string>();
    const quantize = async (
      model: Model,
      exclude: readonly string[],
      notes: ReportBuilder,
    ): Promise<void> => {
      const whole = { ...settings, exclude: [...settings.exclude, ...exclude] };
      await quantizeGraph(model, whole, {
        closed: model === draft ? closed : undefined,
        stats,
        context,
        notes,
        reduced,
      });
    };
    const { recovery } = settings;
    if (settings.reducedRange === 'auto') {
      const copy = draft.clone();
      await quantize(copy, [], new ReportBuilder());
      for (const layer of await saturatingLayers(copy, settings.format, context, report)) reduced.add(layer);
    }
    if (recovery === undefined) await quantize(draft, [], report);
    else await quantizeRecovered(draft, { pass: name, settings: recovery, context, report, quantize });
    if (settings.format === 'qoperator') {
      const { signal } = context;
      await convertToIntegerOperators(draft, {
        microsoft: settings.microsoftOperators,
        report: new ReportBuilder(),
        signal,
      });
    }
    if (settings.tables) storeTables(draft, settings, report);
    if (settings.transposed === 'weights') storeTransposed(draft, settings, report);
    reportRest(draft, settings, report);
    report.metric('samples', stats.samples, 'samples');
    return report.build();
  },
});
