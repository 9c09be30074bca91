import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { rememberIntermediates } from './former-intermediates.js';

const now = Date.UTC(2026, 0, 1);
const made = (life: number): Promise<string> => {
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  return issueCertificate({ ...rootOptions('cluster.local', key), notBefore: now - 1000, notAfter: now + life });
};
const certificates = await Promise.all(Array.from({ length: 8 }, () => made(1_000_000)));
const short = await made(10_000);

let directory = '';
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'enmesh-former-'))));
afterEach(() => rmSync(directory, { recursive: true }));
const remember = (current: readonly string[], at = now) => rememberIntermediates(directory, current, at);

describe('the intermediates of before', () => {
  it('are remembered, the latest four, and not told twice', async () => {
    expect(await remember([certificates[0]!])).toEqual([]);
    for (const one of certificates.slice(1)) await remember([one]);
    expect(await remember([certificates[7]!])).toEqual(certificates.slice(3, 7));
    expect(await remember([certificates[5]!])).toEqual([...certificates.slice(3, 5), ...certificates.slice(6, 8)].slice(-4));
  });

  it('are forgotten when they have ended', async () => {
    await remember([short]);
    expect(await remember([certificates[0]!])).toEqual([short]);
    expect(await remember([certificates[0]!], now + 10_000)).toEqual([]);
    expect(readFileSync(join(directory, 'intermediates.pem'), 'utf8')).toBe(certificates[0]);
  });

  it('are none when their file is damaged, which is then written anew', async () => {
    writeFileSync(join(directory, 'intermediates.pem'), '-----BEGIN CERTIFICATE-----\nxx');
    expect(await remember([certificates[0]!])).toEqual([]);
    expect(readFileSync(join(directory, 'intermediates.pem'), 'utf8')).toBe(certificates[0]);
  });
});
