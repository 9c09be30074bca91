// What a step finds out: what was asked, what came back, what was expected, and why. A check is nothing but the comparison of two texts.

/** `check` records one comparison, `note` a sentence such as an edit of a policy; `onCheck` hears both as they come. */
export function createChecks(onCheck) {
  const checks = [];
  return {
    checks,
    check({ asked, got, want, why }) {
      const found = { asked, got, want, why, ok: got === want };
      checks.push(found);
      onCheck(found);
    },
    note: (note) => onCheck({ note }),
  };
}
