import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readCertificateFacts } from '../../packages/core/src/x509/certificate-facts.js';
import { parsePem } from '../../packages/core/src/x509/pem.js';
import { parseX509Svid, verifySvidChain, verifySvidLeaf } from '../../packages/core/src/x509/svid-verify.js';

const corpora = process.env.ENMESH_CORPORA ?? resolve(import.meta.dirname, '../../../shared/corpora');
const folder = (name: string) => {
  const path = join(corpora, name);
  const absent = !existsSync(path);
  if (absent) console.log(`skip: no corpus ${name} (ENMESH_CORPORA)`);
  return { path, absent };
};
const certificates = (text: string) => parsePem(text, 'CERTIFICATE');
const outcome = <T>(read: () => T): T | string => {
  try {
    return read();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};

const goSpiffe = folder('go-spiffe');
describe.skipIf(goSpiffe.absent)('go-spiffe X.509-SVIDs', () => {
  interface Case {
    readonly name: string;
    readonly key: string;
    readonly certs: string;
    readonly expect: 'accept' | 'reject';
    readonly id: string | null;
  }
  const { cases } = goSpiffe.absent
    ? { cases: [] as Case[] }
    : (JSON.parse(readFileSync(join(goSpiffe.path, 'x509svid-parse.cases.json'), 'utf8')) as { cases: Case[] });
  const text = (name: string) => readFileSync(join(goSpiffe.path, 'svid/x509svid', name), 'utf8');

  it.each(cases)('agrees: $name', (one) => {
    const read = () => parseX509Svid({ chain: text(one.certs), privateKey: text(one.key) }).id.uri;
    if (one.expect === 'accept') expect(read()).toBe(one.id);
    else expect(outcome(read)).toMatch(/^ENMESH_X509_/);
  });

  it('has all 18 of them', () => expect(cases).toHaveLength(18));

  it('never keeps a key in the chain', () => {
    const pem = text('testdata/good-key-and-cert.pem');
    expect(parseX509Svid({ chain: pem, privateKey: pem }).chain).not.toContain('PRIVATE');
  });
});

const limbo = folder('x509-limbo');
describe.skipIf(limbo.absent)('x509-limbo', () => {
  interface Case {
    readonly id: string;
    readonly peer_certificate: string;
    readonly untrusted_intermediates: string[];
    readonly trusted_certs: string[];
    readonly validation_time: string | null;
  }
  const { testcases } = limbo.absent
    ? { testcases: [] as Case[] }
    : (JSON.parse(readFileSync(join(limbo.path, 'limbo.json'), 'utf8')) as { testcases: Case[] });

  it('gives no identity to any leaf', () => {
    expect(
      testcases.filter((one) =>
        certificates(one.peer_certificate).some((der) => !String(outcome(() => verifySvidLeaf(der))).startsWith('ENMESH_X509')),
      ),
    ).toEqual([]);
    expect(testcases.length).toBeGreaterThan(200);
  });

  it('accepts no chain, whatever its roots', () => {
    const accepted = testcases.filter((one) => {
      const [leaf = Buffer.alloc(0)] = certificates(one.peer_certificate);
      const intermediates = one.untrusted_intermediates.flatMap(certificates);
      const bundles = new Map([['example.com', { trustDomain: 'example.com', roots: one.trusted_certs }]]);
      const now = one.validation_time === null ? Date.now() : Date.parse(one.validation_time);
      return !String(outcome(() => verifySvidChain({ leaf, intermediates, bundles, now }))).startsWith('ENMESH_X509');
    });
    expect(accepted.map(({ id }) => id)).toEqual([]);
  });

  it('reads nothing else than certificates: anything thrown has a code', () => {
    for (const one of testcases) {
      for (const der of [one.peer_certificate, ...one.untrusted_intermediates, ...one.trusted_certs].flatMap(certificates)) {
        const read = outcome(() => readCertificateFacts(der));
        if (typeof read === 'string') expect(read).toBe('ENMESH_X509_MALFORMED');
      }
    }
  });
});

const escaping = folder('node-x509-escaping');
describe.skipIf(escaping.absent)('hostile names of Node.js', () => {
  const files = escaping.absent ? [] : readdirSync(escaping.path).filter((name) => name.endsWith('-cert.pem'));

  it('gives no identity to any of them', () => {
    for (const name of files) {
      const [der = Buffer.alloc(0)] = certificates(readFileSync(join(escaping.path, name), 'utf8'));
      expect(
        outcome(() => verifySvidLeaf(der)),
        name,
      ).toMatch(/^ENMESH_X509_/);
    }
    expect(files.length).toBeGreaterThan(40);
  });

  it('reads names one by one, never more of them than stand in the certificate', () => {
    const facts = (name: string) =>
      outcome(() => readCertificateFacts(certificates(readFileSync(join(escaping.path, name), 'utf8'))[0] ?? Buffer.alloc(0)));
    expect(facts('alt-0-cert.pem')).toMatchObject({ dnsSans: ['good.example.com, DNS:evil.example.com'], uriSans: [] });
    expect(facts('alt-5-cert.pem')).toMatchObject({ dnsSans: [], uriSans: ['http://example.com/a, DNS:good.example.com'] });
    expect(facts('alt-6-cert.pem')).toBe('ENMESH_X509_MALFORMED');
    expect(facts('alt-17-cert.pem')).toMatchObject({ dnsSans: [], otherSans: new Set(['directoryName']) });
    expect(facts('alt-30-cert.pem')).toMatchObject({ dnsSans: [], otherSans: new Set(['otherName']) });
  });

  const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
  it.skipIf(!hasOpenssl)('prints their subjects as OpenSSL does', () => {
    for (const name of files) {
      const path = join(escaping.path, name);
      const facts = outcome(() => readCertificateFacts(certificates(readFileSync(path, 'utf8'))[0] ?? Buffer.alloc(0)));
      if (typeof facts === 'string') continue;
      const printed = spawnSync('openssl', ['x509', '-in', path, '-noout', '-subject', '-nameopt', 'RFC2253'], {
        encoding: 'utf8',
      });
      expect(`subject=${facts.subject}\n`, name).toBe(printed.stdout);
    }
  });
});

const istio = folder('istio');
describe.skipIf(istio.absent)('workload certificates of Istio', () => {
  const text = (name: string) => readFileSync(join(istio.path, name), 'utf8');
  it.each(['foo', 'bar'])('gives %s the identity in its certificate, signed by the bundle of its samples', (name) => {
    const chain = text(`samples/certs/workload-${name}-cert.pem`);
    const svid = parseX509Svid({ chain, privateKey: text(`samples/certs/workload-${name}-key.pem`) });
    const [leaf = Buffer.alloc(0), ...intermediates] = certificates(chain);
    const { trustDomain } = svid.id;
    const bundles = new Map([[trustDomain, { trustDomain, roots: [text('samples/certs/root-cert.pem')] }]]);
    expect(svid.id.path).toMatch(/^\/ns\/[^/]+\/sa\/[^/]+$/);
    expect(verifySvidChain({ leaf, intermediates, bundles, now: svid.notBefore + 1000 })).toEqual(svid.id);
  });
});
