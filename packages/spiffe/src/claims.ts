import type { StructMessage, ValueMessage } from './messages.js';

const maxDepth = 32;

/** The claims of a token out of google.protobuf.Struct. Throws a `RangeError` at more than 32 levels. */
export function claimsOf(struct: StructMessage | null): Readonly<Record<string, unknown>> {
  return readStruct(struct, 0);
}

function readStruct(struct: StructMessage | null | undefined, depth: number): Readonly<Record<string, unknown>> {
  if (depth > maxDepth) throw new RangeError('nested too deeply');
  // fromEntries defines members: one called __proto__ is a member like the others.
  return Object.fromEntries(Object.entries(struct?.fields ?? {}).map(([name, value]) => [name, readValue(value, depth)]));
}

function readValue(value: ValueMessage, depth: number): unknown {
  switch (value.kind) {
    case 'string_value':
      return value.string_value;
    case 'number_value':
      return value.number_value;
    case 'bool_value':
      return value.bool_value;
    case 'struct_value':
      return readStruct(value.struct_value, depth + 1);
    case 'list_value':
      if (depth > maxDepth) throw new RangeError('nested too deeply');
      return (value.list_value?.values ?? []).map((item) => readValue(item, depth + 1));
    default:
      return null;
  }
}
