import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { canonicalizePath, mergeSlashes } from '../../packages/core/src/request/canonical-path.js';
import { parseTarget, splitTarget, type PathNormalization } from '../../packages/core/src/request/normalize.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const normalizationFile = resolve(corpora, 'istio/tests/integration/security/normalization-cases.json');
const envoyFile = resolve(corpora, 'envoy/path-utility.cases.json');
const present = existsSync(normalizationFile) && existsSync(envoyFile);
if (!present) console.log(`skip: path corpora not found below ${corpora}`);

interface Normalization {
  readonly normalization: PathNormalization;
  readonly in: string;
  readonly out: string;
}
interface Pair {
  readonly in: string;
  readonly out: string;
}

/** Where enmesh and the Envoy that the oracle was measured with agree, and Istio's older table does not. */
const exceptions: readonly (Normalization & { readonly reason: string })[] = [
  {
    normalization: 'DECODE_AND_MERGE_SLASHES',
    in: '/..;/admin',
    out: '/..;/admin',
    reason: 'a dot segment with a path parameter counts as one since Envoy 1.36.10 (BIT-envoy-2026-73551)',
  },
];

const read = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;

describe.skipIf(!present)("Istio's own path normalization cases", () => {
  it('come out exactly as Istio expects, all 345 of them but the excused', () => {
    const { cases } = read<{ cases: readonly Normalization[] }>(normalizationFile);
    const wrong = cases.filter((entry) => {
      const target = parseTarget(entry.in, entry.normalization);
      return (target.ok ? target.path + target.query : '400') !== entry.out;
    });
    expect(wrong.map((entry) => [entry.normalization, entry.in])).toEqual(
      exceptions.map((entry) => [entry.normalization, entry.in]),
    );
    expect(cases).toHaveLength(345);
  });
});

describe.skipIf(!present)("Envoy's own path cases", () => {
  it('come out exactly as Envoy expects, all 51 of them', () => {
    const cases = read<
      Record<'canonicalPath' | 'mergeSlashes' | 'removeQueryAndFragment', readonly Pair[]> & { invalid: readonly string[] }
    >(envoyFile);
    const wrong = [
      ...cases.canonicalPath.filter((entry) => canonicalizePath(entry.in) !== entry.out),
      ...cases.invalid.filter((path) => typeof canonicalizePath(path) === 'string'),
      ...cases.mergeSlashes.filter((entry) => {
        const { path, query } = splitTarget(entry.in);
        return mergeSlashes(path) + query !== entry.out;
      }),
      ...cases.removeQueryAndFragment.filter((entry) => splitTarget(entry.in).path !== entry.out),
    ];
    expect(wrong).toEqual([]);
    const count =
      cases.canonicalPath.length + cases.invalid.length + cases.mergeSlashes.length + cases.removeQueryAndFragment.length;
    expect(count).toBe(51);
  });
});
