import type { Attribute } from '../ir/attribute.ts';
import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import { formatType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { isInteger } from '../tensor/dtype.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';

/** How a model is printed. */
export interface PrintOptions {
  /** Most elements of a constant, or entries of a list, that are printed; 8 by default. */
  readonly maxElements?: number | undefined;
  /** Most nodes of one graph that are printed; all by default. */
  readonly maxNodes?: number | undefined;
}

/**
 * Prints a model as text: a line per input, initializer and node, subgraphs indented, tensors shortened. Constants that
 * are not in memory are printed as dtype and shape; nothing is loaded. The text is for people and may change; equal
 * models give equal texts.
 *
 * @example
 * ```ts
 * import { GraphBuilder, printModel } from '@lithe/core';
 *
 * const b = new GraphBuilder('net');
 * const x = b.input('x', 'float32', ['N', 4]);
 * b.output('y', b.op.Softmax([x], { axis: 1 }));
 * printModel(await b.build()).split('\n')[2]; // => '  %y = Softmax(%x) {axis=1} : float32[N, 4]'
 * ```
 */
export function printModel(model: Model, options: PrintOptions = {}): string {
  const { maxElements = 8, maxNodes = Number.POSITIVE_INFINITY } = options;
  const lines: string[] = [];
  const imports = [...model.opsetImports]
    .map(([domain, version]) => `${domain || 'ai.onnx'} ${version}`)
    .join(', ');
  lines.push(`// ${imports}`);
  printGraph(model.graph, { lines, maxElements, maxNodes }, '');
  for (const item of model.functions) {
    lines.push(
      '',
      `// function ${item.domain}.${item.name}${item.overload === '' ? '' : `:${item.overload}`}`,
    );
    printGraph(item.graph, { lines, maxElements, maxNodes }, '');
  }
  return `${lines.join('\n')}\n`;
}

interface Printer {
  readonly lines: string[];
  readonly maxElements: number;
  readonly maxNodes: number;
}

function printGraph(graph: Graph, printer: Printer, indent: string): void {
  const { lines, maxElements, maxNodes } = printer;
  const inputs = graph.inputs.map((value) => `${nameOf(value)}: ${formatType(value.type)}`).join(', ');
  lines.push(`${indent}graph ${quoted(graph.name)}(${inputs}) {`);
  for (const value of graph.initializers) {
    const source = value.initializer as TensorSource;
    lines.push(`${indent}  ${nameOf(value)} = ${formatTensor(source, maxElements)}`);
  }
  let printed = 0;
  for (const node of graph.nodes()) {
    if (printed++ >= maxNodes) {
      lines.push(`${indent}  … ${graph.nodeCount - maxNodes} more nodes`);
      break;
    }
    printNode(node, printer, `${indent}  `);
  }
  lines.push(`${indent}  return ${graph.outputs.map(nameOf).join(', ')}`, `${indent}}`);
}

function printNode(node: Node, printer: Printer, indent: string): void {
  const outputs = node.outputs.map(nameOf).join(', ');
  const inputs = node.inputs.map((value) => (value === null ? '_' : nameOf(value))).join(', ');
  const attributes: string[] = [];
  for (const [name, value] of node.attributes) {
    if (value.kind !== 'graph' && value.kind !== 'graphs')
      attributes.push(`${name}=${formatAttribute(value, printer.maxElements)}`);
  }
  const shown = attributes.length === 0 ? '' : ` {${attributes.join(', ')}}`;
  const types = node.outputs.map((value) => formatType(value.type)).join(', ');
  const equals = outputs === '' ? '' : `${outputs} = `;
  printer.lines.push(`${indent}${equals}${node.op}(${inputs})${shown}${outputs === '' ? '' : ` : ${types}`}`);
  for (const [name, graph] of node.subgraphs) {
    printer.lines.push(`${indent}  ${name}:`);
    printGraph(graph, printer, `${indent}    `);
  }
}

function quoted(name: string): string {
  return /^[\w.:/-]+$/.test(name) ? name : JSON.stringify(name);
}

function nameOf(value: Value): string {
  return value.name === '' ? '_' : `%${quoted(value.name)}`;
}

function formatList(items: readonly unknown[], maximum: number, format: (item: never) => string): string {
  const shown = items.slice(0, maximum).map((item) => format(item as never));
  return `[${shown.join(', ')}${items.length > maximum ? `, … ${items.length} in all` : ''}]`;
}

function formatAttribute(value: Attribute, maximum: number): string {
  switch (value.kind) {
    case 'int':
      return String(value.value);
    case 'float':
      return formatNumber(value.value);
    case 'string':
      return JSON.stringify(value.value.length > 64 ? `${value.value.slice(0, 64)}…` : value.value);
    case 'bytes':
      return `bytes(${value.value.byteLength})`;
    case 'tensor':
      return formatTensor(value.value, maximum);
    case 'tensors':
      return formatList(value.value, maximum, (item: TensorSource) => formatTensor(item, maximum));
    case 'type':
      return formatType(value.value);
    case 'types':
      return formatList(value.value, maximum, formatType);
    case 'ints':
      return formatList(value.value, maximum, String);
    case 'floats':
      return formatList(value.value, maximum, formatNumber);
    case 'strings':
      return formatList(value.value, maximum, (item: string) => JSON.stringify(item));
    case 'graph':
    case 'graphs':
      return 'graph';
    case 'reference':
      return `@${value.name}`;
    case 'opaque':
      return `opaque(${value.proto.byteLength})`;
  }
}

/** Seven digits tell float32 numbers apart well enough for reading. */
function formatNumber(value: number): string {
  return String(Number(value.toPrecision(7)));
}

function formatTensor(source: TensorSource, maximum: number): string {
  const type = `${source.dtype}[${source.shape.join(', ')}]`;
  if (!(source instanceof Tensor) || source.dtype.startsWith('complex')) return type;
  if (source.size > maximum) return `${type} …`;
  if (source.dtype === 'string')
    return `${type} ${formatList((source as Tensor<'string'>).data, maximum, (item: string) => JSON.stringify(item))}`;
  if (source.dtype === 'int64' || source.dtype === 'uint64')
    return `${type} [${[...(source as Tensor<'int64'>).data].join(', ')}]`;
  const values = [...source.toFloat64Array()];
  return `${type} [${values.map(isInteger(source.dtype) || source.dtype === 'bool' ? String : formatNumber).join(', ')}]`;
}
