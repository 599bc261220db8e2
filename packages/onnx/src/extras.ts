import {
  type Attribute,
  type MetaKey,
  type Model,
  metaKey,
  type TensorSource,
  type ValueType,
} from '@lithe/core';
import type {
  DeviceConfigurationProto,
  NodeDeviceConfigurationProto,
  TrainingInfoProto,
  TypeProto,
} from './proto/onnx_pb.ts';

/** A field that the schema does not know, as the decoder kept it. */
export interface UnknownField {
  /** Field number. */
  readonly no: number;
  /** How it is encoded. */
  readonly wireType: number;
  /** Its encoding, without the tag. */
  readonly data: Uint8Array;
}

/** What a model's file holds beyond the graph, kept for writing. */
export interface ModelExtras {
  /** Training graphs; not looked into. */
  readonly trainingInfo: readonly TrainingInfoProto[];
  /** Opset that the training graphs are written for. */
  readonly trainingOpset: number;
  /** Device configurations. */
  readonly configuration: readonly DeviceConfigurationProto[];
  /** Fields of later versions of the format. */
  readonly unknown: readonly UnknownField[];
  /** Files that hold weights, as the model names them. */
  readonly locations: readonly string[];
  /** What of the model outside its graphs could be edited without a trace in the revision. */
  readonly header: string;
}

/** Notes of the reader on a model. */
export const modelExtras: MetaKey<ModelExtras> = metaKey('onnx/model');

/** Unknown fields of a graph. */
export const graphUnknown: MetaKey<readonly UnknownField[]> = metaKey('onnx/graph-unknown');

/** What a node's message holds beyond the IR. */
export interface NodeExtras {
  /** Placement on devices. */
  readonly deviceConfigurations: readonly NodeDeviceConfigurationProto[];
  /** Fields of later versions of the format. */
  readonly unknown: readonly UnknownField[];
}

/** Notes of the reader on a node. */
export const nodeExtras: MetaKey<NodeExtras> = metaKey('onnx/node');

/** The name that the reader gave a node without one: the file goes on without it. */
export const givenName: MetaKey<string> = metaKey('onnx/given-name');

/** What the file says of a value beyond the IR. */
export interface ValueExtras {
  /** Whether the file declares the value's type. */
  readonly declared: boolean;
  /** Quantization annotation: parameter name -> tensor name. */
  readonly annotation?: ReadonlyMap<string, string> | undefined;
  /** Unknown fields of its `ValueInfoProto`. */
  readonly unknown: readonly UnknownField[];
}

/** Notes of the reader on a value. */
export const valueExtras: MetaKey<ValueExtras> = metaKey('onnx/value');

/** What a tensor's message holds beyond dtype, shape and data. */
export interface TensorExtras {
  /** Name, of a tensor in an attribute. */
  readonly name: string;
  /** A free text. */
  readonly docString: string | undefined;
  /** Metadata. */
  readonly props: ReadonlyMap<string, string>;
  /** Fields of later versions of the format. */
  readonly unknown: readonly UnknownField[];
}

// Keyed by identity: clones of a model share tensors, attributes and types, and a pass that makes new ones
// thereby leaves these notes behind.

/** Notes of the reader on tensors. */
export const tensorExtras: WeakMap<TensorSource, TensorExtras> = new WeakMap();

/** What an attribute's message holds beyond its value. */
export interface AttributeExtras {
  /** A free text. */
  readonly docString: string | undefined;
  /** Fields of later versions of the format. */
  readonly unknown: readonly UnknownField[];
}

/** Notes of the reader on attributes. */
export const attributeExtras: WeakMap<Attribute, AttributeExtras> = new WeakMap();

/** Messages of types that say more than the IR holds (denotations). */
export const typeMessages: WeakMap<ValueType, TypeProto> = new WeakMap();

/**
 * Names of the files beside a model that hold its weights, as its file names them; empty for a model in one file, or
 * one that was not read from a file.
 */
export function externalFiles(model: Model): readonly string[] {
  return model.meta.get(modelExtras)?.locations ?? [];
}
