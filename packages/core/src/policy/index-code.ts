/**
 * The guard of a rule, what must hold for it to match as far as an index can look it up, written as numbers: a key, or a mark before several guards of
 * which all hold (any one of them is enough to find the rule) or one holds (all are needed to find it). No numbers at all say nothing: such a rule
 * is tried on every request.
 */
export type GuardCode = readonly number[];

/** Marks are negative: they tell how many numbers follow, and whether all of those guards hold or any. */
const markOfAll = (size: number): number => -(2 * size + 1);
const markOfAny = (size: number): number => -(2 * size + 2);

/** How many numbers belong to the mark. */
const sizeOf = (mark: number): number => (-mark - 1) >> 1;

/** Whether one of the guards behind the mark holds, not all. */
export const isAnyMark = (mark: number): boolean => (mark & 1) === 0;

/** Where the guard at `at` ends. */
export function endOfGuard(code: GuardCode, at: number): number {
  const word = code[at] as number;
  return word < 0 ? at + 1 + sizeOf(word) : at + 1;
}

/** Writes guards, one rule's behind the other's. */
export interface GuardWriter {
  readonly code: number[];
  /** Begins a guard of all that is written until {@link GuardWriter.close}; answers where it began. */
  open(): number;
  close(start: number): void;
  /** Writes a guard of the alternatives; one that says nothing makes the whole say nothing. */
  any<Item, Given>(items: readonly Item[], write: (item: Item, given: Given) => void, given: Given): void;
}

/** Creates a writer that has written nothing. */
export function createGuardWriter(): GuardWriter {
  const code: number[] = [];
  const close = (start: number, isAny: boolean): void => {
    const size = code.length - start - 1;
    if (size > 0 && endOfGuard(code, start + 1) < code.length) {
      code[start] = isAny ? markOfAny(size) : markOfAll(size);
      return;
    }
    // Of one part, the part itself says it all.
    code.copyWithin(start, start + 1);
    code.pop();
  };
  return {
    code,
    open: () => code.push(0) - 1,
    close: (start) => close(start, false),
    any(items, write, given) {
      if (items.length === 1) return write(items[0] as (typeof items)[number], given);
      const start = code.push(0) - 1;
      for (const item of items) {
        const before = code.length;
        write(item, given);
        if (code.length === before) {
          code.length = start;
          return;
        }
      }
      close(start, true);
    },
  };
}
