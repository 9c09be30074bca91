import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createTestIssuer } from '@enmesh/core/testing';
import { openTokenCallers, parseServiceAccount } from './jwt-callers.js';
import type { IssuerSettings } from './settings.js';

const idp = await createTestIssuer();
const cluster = await createTestIssuer({ issuer: 'https://kubernetes.default.svc' });
const now = Date.now();
const directory = mkdtempSync(join(tmpdir(), 'enmesh-jwt-'));
afterAll(() => rmSync(directory, { recursive: true }));

const base: IssuerSettings = {
  issuer: idp.issuer,
  audiences: ['enmesh-ca'],
  jwks: idp.jwksText,
  jwksFile: undefined,
  jwksUri: undefined,
  insecureHttp: false,
  kubernetesSubjects: false,
  identities: [
    { subject: 'vm-1', claims: {}, namespace: 'shop', serviceAccount: 'gateway' },
    { subject: 'ci', claims: { env: 'prod' }, namespace: 'shop', serviceAccount: 'product' },
    { subject: 'ci', claims: { env: 'prod', region: 'eu' }, namespace: 'shop', serviceAccount: 'product-eu' },
    { subject: 'two', claims: { a: '1' }, namespace: 'shop', serviceAccount: 'one' },
    { subject: 'two', claims: { b: '1' }, namespace: 'shop', serviceAccount: 'other' },
  ],
};
const callers = await openTokenCallers(
  [base, { ...base, issuer: cluster.issuer, jwks: cluster.jwksText, kubernetesSubjects: true, identities: [] }],
  () => now,
);
const identify = async (claims: object, o: { issuer?: typeof idp; expiresIn?: number | null } = {}) => {
  const { issuer = idp, expiresIn = 300 } = o;
  return callers.identify(await issuer.sign({ aud: 'enmesh-ca', ...claims }, { expiresIn, now }), now);
};
const unproved = (text: RegExp): Error =>
  expect.objectContaining({ code: 'ENMESH_CA_UNPROVED', message: expect.stringMatching(text) as string }) as Error;

describe('callers with tokens', () => {
  it('are the service account that the mapping of their subject names', async () => {
    expect(await identify({ sub: 'vm-1' })).toMatchObject({ issuer: idp.issuer, namespace: 'shop', serviceAccount: 'gateway' });
    expect(await identify({ sub: 'ci', env: 'prod' })).toMatchObject({ serviceAccount: 'product' });
    expect(await identify({ sub: 'ci', env: 'prod', region: 'eu' })).toMatchObject({ serviceAccount: 'product-eu' });
  });

  it('are the service account of a Kubernetes subject where that is wanted', async () => {
    const sub = 'system:serviceaccount:shop:gateway';
    expect(await identify({ sub }, { issuer: cluster })).toMatchObject({ namespace: 'shop', serviceAccount: 'gateway' });
    await expect(identify({ sub })).rejects.toThrow(unproved(/no mapping/));
  });

  it.each([
    ['another subject', { sub: 'vm-2' }, /no mapping/],
    ['a subject that begins alike', { sub: 'vm-1 ' }, /no mapping/],
    ['no subject', {}, /no sub/],
    ['a claim that differs', { sub: 'ci', env: 'test' }, /no mapping/],
    ['a claim of another type', { sub: 'ci', env: ['prod'] }, /no mapping/],
    ['two mappings that fit alike', { sub: 'two', a: '1', b: '1' }, /alike/],
    ['another audience', { sub: 'vm-1', aud: 'other' }, /audience/],
    ['no audience', { sub: 'vm-1', aud: [] }, /audience/],
  ])('are nobody with %s', async (_, claims, text) => {
    await expect(identify(claims)).rejects.toThrow(unproved(text));
  });

  it('are nobody with a token that never ends, or has ended', async () => {
    await expect(identify({ sub: 'vm-1' }, { expiresIn: null })).rejects.toThrow(unproved(/no exp/));
    await expect(identify({ sub: 'vm-1' }, { expiresIn: -120 })).rejects.toThrow(unproved(/past/));
  });

  it('are nobody with a token that another key of a known issuer’s name signed, or none', async () => {
    const forger = await createTestIssuer();
    await expect(identify({ sub: 'vm-1' }, { issuer: forger })).rejects.toThrow(unproved(/verifies the signature/));
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify({ iss: idp.issuer, sub: 'vm-1', aud: 'enmesh-ca' })).toString('base64url')}.`;
    await expect(callers.identify(none, now)).rejects.toThrow(unproved(/./));
  });

  it('are left to others with a token of an unknown issuer', async () => {
    expect(await identify({ sub: 'vm-1', iss: 'https://unknown' })).toBeUndefined();
  });

  it('are known by the keys of a file, which may change', async () => {
    const jwksFile = join(directory, 'keys.json');
    const settings = { ...base, jwks: undefined, jwksFile };
    await expect(openTokenCallers([settings], () => now)).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_CA_SETTINGS' }),
    );
    const write = (text: string): void => {
      writeFileSync(`${jwksFile}.new`, text);
      renameSync(`${jwksFile}.new`, jwksFile);
    };
    write('{"keys":[]}');
    await expect(openTokenCallers([settings], () => now)).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_CA_SETTINGS' }),
    );
    write(idp.jwksText);
    const fromFile = await openTokenCallers([settings], () => now);
    const old = await idp.sign({ sub: 'vm-1', aud: 'enmesh-ca' }, { now });
    expect(await fromFile.identify(old, now)).toBeDefined();
    write('{"keys":');
    expect(await fromFile.identify(old, now)).toBeDefined();
    const next = await createTestIssuer();
    write(next.jwksText);
    await expect(fromFile.identify(old, now)).rejects.toThrow(unproved(/./));
    expect(await fromFile.identify(await next.sign({ sub: 'vm-1', aud: 'enmesh-ca' }, { now }), now)).toBeDefined();
  });
});

describe('parseServiceAccount', () => {
  it.each([
    'system:serviceaccount:a',
    'system:serviceaccount:a:b:c',
    'system:serviceaccount::b',
    'system:node:a',
    'system:serviceaccount:a/b:c',
    'a:b',
  ])('knows no service account in %s', (name) => {
    expect(parseServiceAccount(name)).toBeUndefined();
  });
});
