import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseSpiffeId } from '../../packages/core/src/identity/spiffe-id.js';
import { parseTrustDomain } from '../../packages/core/src/identity/trust-domain.js';

interface Case {
  readonly in: string;
  readonly valid: boolean;
  readonly path?: string | null;
}

const corpora = process.env.ENMESH_CORPORA ?? resolve(import.meta.dirname, '../../../shared/corpora');
const file = join(corpora, 'go-spiffe/spiffeid.cases.json');
const present = existsSync(file);
if (!present) console.log(`skip: no go-spiffe corpus (ENMESH_CORPORA)`);
const { ids, trustDomains } = (present ? JSON.parse(readFileSync(file, 'utf8')) : { ids: [], trustDomains: [] }) as {
  ids: Case[];
  trustDomains: Case[];
};

const attempt = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch {
    return undefined;
  }
};

describe.skipIf(!present)('go-spiffe', () => {
  it('agrees on every SPIFFE ID', () => {
    const wrong = ids.filter((one) => (attempt(() => parseSpiffeId(one.in)) !== undefined) !== one.valid);
    expect(wrong).toEqual([]);
    expect(ids.length).toBeGreaterThan(500);
  });

  it('finds the same path in every valid SPIFFE ID, whose text stays as it is', () => {
    for (const one of ids.filter(({ valid }) => valid))
      expect(parseSpiffeId(one.in)).toMatchObject({ path: one.path, uri: one.in });
  });

  it('agrees on every trust domain', () => {
    const wrong = trustDomains.filter((one) => (attempt(() => parseTrustDomain(one.in)) !== undefined) !== one.valid);
    expect(wrong).toEqual([]);
    expect(trustDomains.length).toBeGreaterThan(250);
  });
});
