import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseSpiffeBundle } from '@enmesh/core/issuance';
import { parseJwtBundle } from '@enmesh/core/jwt';

const corpora = process.env.ENMESH_CORPORA ?? resolve(import.meta.dirname, '../../../shared/corpora');
const folder = join(corpora, 'go-spiffe/bundle');
const absent = !existsSync(folder);
if (absent) console.log('skip: no corpus go-spiffe (ENMESH_CORPORA)');
const read = (path: string): string => readFileSync(join(folder, path), 'utf8');

describe.skipIf(absent)('go-spiffe SPIFFE bundles', () => {
  const parse = (name: string) => parseSpiffeBundle('td.test', read(`spiffebundle/testdata/spiffebundle_${name}.json`));

  it.each([
    ['valid_1', 1, 1, undefined, undefined],
    ['valid_2', 1, 6, 1, 60],
    ['valid_with_wit', 1, 2, 1, 60],
  ])('%s has %i roots, %i keys for tokens, sequence %s and hint %s', (name, roots, keys, sequence, refreshHint) => {
    const bundle = parse(name);
    expect([bundle.x509.roots.length, bundle.jwt.keys.length]).toEqual([roots, keys]);
    expect(bundle).toMatchObject({ sequence, refreshHint });
  });

  it.each([
    ['missing_kid', /no kid/],
    ['multiple_x509', /exactly one certificate/],
    ['no_keys', /no list "keys"/],
  ])('%s is refused', (name, words) => {
    const message = expect.stringMatching(words) as unknown;
    expect(() => parse(name)).toThrow(expect.objectContaining({ code: 'ENMESH_ISSUANCE_BUNDLE', message }));
  });
});

describe.skipIf(absent)('go-spiffe JWT bundles', () => {
  const parse = (name: string) => parseJwtBundle('td.test', read(`jwtbundle/testdata/jwks_${name}.json`));

  it('that are valid have all their keys', () => {
    const kids = ['valid_1', 'valid_2'].map((name) => {
      const { keys } = JSON.parse(read(`jwtbundle/testdata/jwks_${name}.json`)) as { keys: { kid: string }[] };
      return [parse(name).keys.map(({ kid }) => kid), keys.map(({ kid }) => kid)];
    });
    for (const [parsed, written] of kids) expect(parsed).toEqual(written);
  });

  it('with a key without kid are refused', () => {
    expect(() => parse('missing_kid')).toThrow(expect.objectContaining({ code: 'ENMESH_JWT_KEY_SET_INVALID' }));
  });
});
