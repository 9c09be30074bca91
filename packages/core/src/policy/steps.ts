/** Comparisons after which a sort may pause. */
const comparesPerStep = 512;

/** Runs work that is made of steps to its end at once. */
export function finish<Value>(steps: Generator<void, Value>): Value {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** Sorts by a text of each item, by code unit, in steps; items of equal text keep their order. */
export function* sortInSteps<Item>(items: readonly Item[], textOf: (item: Item) => string): Generator<void, Item[]> {
  let from = [...items];
  let into = [...items];
  let compared = 0;
  for (let width = 1; width < items.length; width *= 2) {
    for (let start = 0; start < items.length; start += 2 * width) {
      const middle = Math.min(start + width, items.length);
      const end = Math.min(start + 2 * width, items.length);
      let left = start;
      let right = middle;
      for (let at = start; at < end; at += 1) {
        const takesLeft = left < middle && (right >= end || textOf(from[left] as Item) <= textOf(from[right] as Item));
        into[at] = from[takesLeft ? left++ : right++] as Item;
        if (++compared % comparesPerStep === 0) yield;
      }
    }
    [from, into] = [into, from];
  }
  return from;
}
