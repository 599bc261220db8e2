import { criterionNames, normalizers, reductions } from '@lithe/pruning';
import { type Command, Option } from 'commander';
import {
  addEvaluateOptions,
  addMeasureOptions,
  parseInteger,
  parseNumber,
  samplesOption,
} from '../options.ts';
import {
  collect,
  parseAmount,
  parseBlocks,
  parsePatternArgument,
  parseRank,
  parseShare,
} from './prune-arguments.ts';

function addChannelOptions(command: Command): void {
  command
    .optionsGroup('What goes: channels, neurons and heads (this, unless one of the others below is named):')
    .addOption(
      new Option('--ratio <share>', 'share of units to remove (default: 0.5 without a budget)').argParser(
        parseShare,
      ),
    )
    .addOption(
      new Option(
        '--target-latency <share>',
        'latency to reach on the target, measured there, such as 0.6x',
      ).argParser(parseShare),
    )
    .addOption(
      new Option('--macs <amount>', 'multiplications to keep: a share (0.5x) or an amount (120M)').argParser(
        parseAmount,
      ),
    )
    .addOption(
      new Option('--parameters <amount>', 'weights to keep: a share (0.5x) or an amount (1.5M)').argParser(
        parseAmount,
      ),
    )
    .addOption(
      new Option(
        '--weight-bytes <amount>',
        'bytes of weights to keep: a share (0.5x) or an amount (4M)',
      ).argParser(parseAmount),
    )
    .addOption(
      new Option('--round-to <n>', "multiple that channels are kept at (default: the target's)").argParser(
        parseInteger(1, 1024),
      ),
    )
    .addOption(
      new Option('--minimum-width <n>', 'least channels of any layer').argParser(parseInteger(1, 1_000_000)),
    )
    .addOption(
      new Option('--largest-ratio <share>', 'most that any group loses (default: 0.9)').argParser(
        parseNumber(0, 0.999),
      ),
    )
    .addOption(
      new Option(
        '--attention <unit>',
        'cut attention by whole heads (default), or by the width of each',
      ).choices(['heads', 'width']),
    )
    .addOption(
      new Option('--batch-size <n>', 'samples per run where latency is searched for (default: 1)').argParser(
        parseInteger(1, 65_536),
      ),
    )
    .option('--journal <file>', 'keep measurements in a file, so that a search that was stopped goes on');
}

function addOtherMethods(command: Command): void {
  command
    .optionsGroup('What goes: single weights, which become zero (a smaller download, no speed):')
    .addOption(
      new Option(
        '--sparsity <share>',
        'share of weights that become zero (default with --pattern: 0.5; N:M says it itself)',
      ).argParser(parseShare),
    )
    .addOption(
      new Option(
        '--pattern <form>',
        'where zeros lie: unstructured (default), N:M such as 2:4, or blocks such as 4x1',
      ).argParser(parsePatternArgument),
    )
    .optionsGroup('What goes: the rank of layers, each taken apart in two thinner ones:')
    .addOption(
      new Option(
        '--low-rank <how>',
        'energy that layers keep (0.95), share of their rank (rank=0.25), or a budget (macs=0.6x, parameters=0.5x)',
      ).argParser(parseRank),
    )
    .optionsGroup('What goes: whole residual blocks:')
    .addOption(
      new Option(
        '--drop-blocks <which>',
        'how many, those that change least on the inputs of --calibrate first; or names with commas between',
      ).argParser(parseBlocks),
    );
}

/** Adds the options of `lithe prune`, in groups. */
export function addPruneOptions(command: Command): Command {
  command
    .optionsGroup('Options:')
    .option('-o, --output <file>', 'where to write the result (default: MODEL.pruned.onnx)')
    .option('--dry-run', 'say what would be removed and saved, and write nothing')
    .option('--no-simplify', 'prune the graph as it is');
  addChannelOptions(command);
  addOtherMethods(command);
  command
    .optionsGroup('What matters:')
    .addOption(
      new Option(
        '--criterion <name>',
        'what tells how much a unit (default: l2) or a single weight (default: lamp; l1, l2, wanda, sparse-gpt) matters',
      ).choices([...criterionNames, 'sparse-gpt']),
    )
    .addOption(
      new Option(
        '--scope <name>',
        'who competes: units of a group (local, default), all (global), or those of groups built alike (isomorphic); weights of all layers (global, default), of a layer (local) or of an output (row)',
      ).choices(['local', 'global', 'isomorphic', 'row']),
    )
    .option(
      '--logits <name>',
      'output with scores before softmax, for the loss of taylor and fisher (default: the first)',
    )
    .addOption(
      new Option('--reduction <name>', 'how the weights of a group make one score').choices(reductions),
    )
    .addOption(
      new Option('--normalizer <name>', 'how scores of groups are made comparable').choices(normalizers),
    )
    .addOption(
      new Option('--protect <name>', 'node, value or weight that stays as it is (repeat for more)').argParser(
        collect,
      ),
    )
    .optionsGroup('What is won back, without training:')
    .option(
      '--refit',
      'fit what is left to what the original computes on the inputs of --calibrate, layer by layer',
    )
    .option(
      '--reestimate-batch-norm',
      'measure batch normalization anew on --calibrate: inputs like those it was trained on',
    )
    .addOption(
      new Option('--recovery-samples <n>', 'samples for it at most (default: 512)').argParser(
        parseInteger(1, 1_000_000),
      ),
    )
    .optionsGroup('Data:')
    .option(
      '--calibrate <data>',
      'real inputs: .npy, .npz, IDX, an image, or a folder of them; with labels for taylor and fisher',
    );
  addEvaluateOptions(command, ' before and after')
    .addOption(samplesOption())
    .optionsGroup('Target and measurement:');
  addMeasureOptions(command);
  return command;
}
