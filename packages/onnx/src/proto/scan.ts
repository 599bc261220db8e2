import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { errors } from '@lithe/core';
import type { ReadLimits } from '../limits.ts';

/**
 * Checks the wire format of a message before it is decoded: every length stays inside the message around it, every
 * field has the wire type of its schema, and the counts stay under the limits. Allocates nothing per field, so a
 * hostile file is refused before it costs memory. Linear in the number of fields; the contents of byte and text
 * fields are not visited.
 *
 * Encoding: Protocol Buffers documentation, "Encoding" (wire types, varints, packed repeated fields).
 *
 * @throws {LitheError} FILE_INVALID when the bytes are not such a message
 * @throws {LitheError} LIMIT_EXCEEDED when a count is above its limit
 */
export function scanMessage(desc: DescMessage, bytes: Uint8Array, limits: ReadLimits, file: string): void {
  if (bytes.byteLength > limits.maxFileBytes) {
    throw errors.limitExceeded('maxFileBytes', limits.maxFileBytes, bytes.byteLength, `File "${file}"`);
  }
  new Scanner(bytes, limits, file).message(planOf(desc), 0, bytes.byteLength, 1);
}

/** How a field is scanned. */
interface FieldPlan {
  readonly name: string;
  readonly wireType: number;
  readonly packedWireType: number | undefined;
  readonly repeated: boolean;
  readonly message: (() => MessagePlan) | undefined;
}

interface MessagePlan {
  readonly name: string;
  readonly isNode: boolean;
  readonly fields: ReadonlyMap<number, FieldPlan>;
}

const VARINT = 0;
const BITS64 = 1;
const BYTES = 2;
const BITS32 = 5;

const plans: WeakMap<DescMessage, MessagePlan> = new WeakMap();

function planOf(desc: DescMessage): MessagePlan {
  const known = plans.get(desc);
  if (known !== undefined) return known;
  const fields = new Map<number, FieldPlan>();
  const plan = { name: desc.name, isNode: desc.typeName === 'onnx.NodeProto', fields };
  plans.set(desc, plan);
  for (const field of desc.fields) fields.set(field.number, planField(field));
  return plan;
}

function planField(field: DescField): FieldPlan {
  const { message } = field;
  const wireType = message !== undefined ? BYTES : wireTypeOf(field.scalar);
  const repeated = field.fieldKind === 'list';
  return {
    name: field.name,
    wireType,
    packedWireType: repeated && wireType !== BYTES ? wireType : undefined,
    repeated,
    message: message === undefined ? undefined : () => planOf(message),
  };
}

function wireTypeOf(scalar: ScalarType | undefined): number {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return BYTES;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return BITS32;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BITS64;
    default:
      return VARINT;
  }
}

class Scanner {
  readonly #bytes: Uint8Array;
  readonly #limits: ReadLimits;
  readonly #file: string;
  #position = 0;
  #messages = 0;
  #nodes = 0;
  #items = 0;

  constructor(bytes: Uint8Array, limits: ReadLimits, file: string) {
    this.#bytes = bytes;
    this.#limits = limits;
    this.#file = file;
  }

  message(plan: MessagePlan, start: number, end: number, depth: number): void {
    if (depth > this.#limits.maxDepth) throw this.#over('maxDepth', this.#limits.maxDepth, depth);
    if (++this.#messages > this.#limits.maxMessages) {
      throw this.#over('maxMessages', this.#limits.maxMessages, this.#messages);
    }
    if (plan.isNode && ++this.#nodes > this.#limits.maxNodes) {
      throw this.#over('maxNodes', this.#limits.maxNodes, this.#nodes);
    }
    this.#position = start;
    while (this.#position < end) this.#field(plan, end, depth);
  }

  #field(plan: MessagePlan, end: number, depth: number): void {
    const start = this.#position;
    const tag = this.#varint(end, plan);
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number < 1 || number > 2 ** 29 - 1)
      throw this.#invalid(start, `field number ${number} of ${plan.name}`);
    const field = plan.fields.get(number);
    if (field === undefined) {
      this.#count();
      this.#skip(plan, wireType, end);
      return;
    }
    if (wireType === BYTES) {
      if (field.wireType !== BYTES && field.packedWireType === undefined)
        throw this.#wrongType(start, plan, field);
      const length = this.#varint(end, plan);
      const from = this.#position;
      if (length > end - from) {
        throw this.#invalid(
          start,
          `field "${field.name}" of ${plan.name} claims ${length} bytes where ${end - from} are left`,
        );
      }
      if (field.message !== undefined) this.message(field.message(), from, from + length, depth + 1);
      else if (field.packedWireType !== undefined) this.#packed(plan, field, from, from + length);
      else if (field.repeated) this.#count();
      this.#position = from + length;
      return;
    }
    if (wireType !== field.wireType) throw this.#wrongType(start, plan, field);
    if (field.repeated) this.#count();
    this.#skip(plan, wireType, end);
  }

  #packed(plan: MessagePlan, field: FieldPlan, start: number, end: number): void {
    const width = field.packedWireType === BITS32 ? 4 : field.packedWireType === BITS64 ? 8 : 1;
    if ((end - start) % width !== 0)
      throw this.#invalid(start, `packed field "${field.name}" of ${plan.name} is cut off`);
    // Numbers of fixed width take about as much memory as in the file; they need no limit.
    if (width > 1) return;
    // One byte without the high bit ends each varint; more than ten bytes are none.
    const bytes = this.#bytes;
    let run = 0;
    for (let index = start; index < end; index++) {
      if ((bytes[index] as number) < 0x80) {
        this.#items++;
        run = 0;
      } else if (++run > 9)
        throw this.#invalid(index, `a number in "${field.name}" of ${plan.name} is too long`);
    }
    if (run > 0) throw this.#invalid(end, `packed field "${field.name}" of ${plan.name} is cut off`);
    if (this.#items > this.#limits.maxListItems) {
      throw this.#over('maxListItems', this.#limits.maxListItems, this.#items);
    }
  }

  #skip(plan: MessagePlan, wireType: number, end: number): void {
    const start = this.#position;
    if (wireType === VARINT) this.#varint(end, plan);
    else if (wireType === BITS64) this.#position += 8;
    else if (wireType === BITS32) this.#position += 4;
    else if (wireType === BYTES) {
      const length = this.#varint(end, plan);
      this.#position += length;
    } else throw this.#invalid(start, `wire type ${wireType} in ${plan.name}`);
    if (this.#position > end) throw this.#invalid(start, `${plan.name} is cut off`);
  }

  /** A varint; exact up to 2^53, which is enough to compare a length with the file's. */
  #varint(end: number, plan: MessagePlan): number {
    const start = this.#position;
    let value = 0;
    let scale = 1;
    for (let index = 0; index < 10; index++) {
      if (this.#position >= end) throw this.#invalid(start, `a number in ${plan.name} is cut off`);
      const byte = this.#bytes[this.#position++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw this.#invalid(start, `a number in ${plan.name} is too long`);
  }

  #count(): void {
    if (++this.#items > this.#limits.maxListItems) {
      throw this.#over('maxListItems', this.#limits.maxListItems, this.#items);
    }
  }

  #wrongType(at: number, plan: MessagePlan, field: FieldPlan): Error {
    return this.#invalid(at, `field "${field.name}" of ${plan.name} has the wrong wire type`);
  }

  #invalid(at: number, problem: string): Error {
    return errors.fileInvalid(this.#file, `it is not an ONNX protobuf: ${problem} (byte ${at}).`);
  }

  #over(limit: keyof ReadLimits, maximum: number, actual: number): Error {
    return errors.limitExceeded(limit, maximum, actual, `File "${this.#file}"`);
  }
}
