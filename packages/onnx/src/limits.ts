/**
 * What a file may hold before reading it stops with LIMIT_EXCEEDED. A few bytes of protobuf can ask for very much
 * memory; these limits tie the cost of reading to what real models need. Each can be raised for a trusted file.
 */
export interface ReadLimits {
  /**
   * Bytes of the protobuf file. Default 2^31 - 1: the limit of protobuf itself, which every runtime shares; larger
   * models keep their weights in external data.
   */
  readonly maxFileBytes: number;
  /**
   * Nesting of messages, so of subgraphs too (three levels each). Default 100, the limit of the C++ protobuf
   * library: a deeper file loads in no runtime. Guards the stack.
   */
  readonly maxDepth: number;
  /**
   * Messages (nodes, attributes, types, dims, …) in the file. Default 4 million: the largest models in use have
   * some 100,000 nodes and 20 messages for each. An empty message takes two bytes in a file and some hundred in
   * memory.
   */
  readonly maxMessages: number;
  /** Nodes, those of subgraphs and functions included. Default 500,000: five times the largest models in use. */
  readonly maxNodes: number;
  /**
   * Numbers and texts in repeated fields (`ints`, `int64_data`, names, …). Default 2^24: one takes a byte in a file
   * and up to 32 in memory. Large weights come as raw bytes, which are not counted.
   */
  readonly maxListItems: number;
  /** Dims of a tensor or type. Default 64: NumPy's limit; real tensors have at most 8. */
  readonly maxRank: number;
  /**
   * Elements of one tensor. Default 2^40: a terabyte of bytes, far above any weight, and far below where products
   * of dims lose precision.
   */
  readonly maxTensorElements: number;
  /** Files of external data. Default 10,000: exporters that write a file per weight make some hundred. */
  readonly maxExternalFiles: number;
}

/** The limits that hold unless others are given. */
export const defaultReadLimits: ReadLimits = {
  maxFileBytes: 2 ** 31 - 1,
  maxDepth: 100,
  maxMessages: 4_000_000,
  maxNodes: 500_000,
  maxListItems: 2 ** 24,
  maxRank: 64,
  maxTensorElements: 2 ** 40,
  maxExternalFiles: 10_000,
};
