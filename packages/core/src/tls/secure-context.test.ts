import { once } from 'node:events';
import { connect, createServer, type DetailedPeerCertificate } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createTestAuthority } from '../testing/authority.js';
import { issueCertificate, rootOptions, svidOptions } from '../x509/certificate.js';
import { parsePem } from '../x509/pem.js';
import { parseX509Svid } from '../x509/svid-verify.js';
import { contextOptions } from './secure-context.js';
import { heard } from '../../../../test/support/waiting.js';

const derOf = (pem: string): string[] => parsePem(pem, 'CERTIFICATE').map((der) => der.toString('hex'));

/** What a client that trusts nobody in particular is shown, leaf first. */
async function shownBy(epoch: { readonly svid: X509Svid; readonly bundles: TrustBundleSet }): Promise<string[]> {
  const server = createServer(contextOptions(epoch, {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1', rejectUnauthorized: false });
  await heard(socket, 'secureConnect');
  const shown: string[] = [];
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (next !== undefined && !shown.includes(next.raw.toString('hex'))) {
    shown.push(next.raw.toString('hex'));
    next = next.issuerCertificate as DetailedPeerCertificate | undefined;
  }
  socket.destroy();
  server.close();
  return shown;
}

describe('contextOptions', () => {
  it('gives a leaf that a root has signed together with that root, so that OpenSSL need not search it in each handshake', async () => {
    const [authority, other] = [await createTestAuthority(), await createTestAuthority({ trustDomain: 'other.example' })];
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    const epoch = { svid, bundles: new Map([...other.bundles, ...authority.bundles]) };
    const whole = [...derOf(svid.chain), ...derOf(authority.rootPem)];
    expect(derOf(contextOptions(epoch, {}).cert as string)).toEqual(whole);
    expect(await shownBy(epoch)).toEqual(whole);
  });

  it('leaves a chain with intermediates as it is, and a leaf that no root of its own trust domain has signed', async () => {
    const [authority, other] = [await createTestAuthority(), await createTestAuthority()];
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    expect(contextOptions({ svid, bundles: other.bundles }, {}).cert).toBe(svid.chain);
    const { privateKey } = svid;
    const whole = `${svid.chain}${authority.rootPem}`;
    expect(contextOptions({ svid: parseX509Svid({ chain: whole, privateKey }), bundles: authority.bundles }, {}).cert).toBe(
      whole,
    );
  });

  it('shows of two roots with one key the one that ends last', async () => {
    const { privateKey: key } = await (await createTestAuthority()).issue({ namespace: 'shop', serviceAccount: 'stock' });
    const now = Date.now() - 60_000;
    const rootUntil = (notAfter: number): Promise<string> =>
      issueCertificate({ ...rootOptions('cluster.local', key), notBefore: now, notAfter });
    const roots = [await rootUntil(now + 3_600_000), await rootUntil(now + 7_200_000), await rootUntil(now + 1_800_000)];
    const leaf = await issueCertificate({
      ...svidOptions('spiffe://cluster.local/ns/shop/sa/stock', key),
      ...{ issuer: roots[0] as string, issuerKey: key, notBefore: now, notAfter: now + 3_600_000 },
    });
    const bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots }]]);
    const { cert } = contextOptions({ svid: parseX509Svid({ chain: leaf, privateKey: key }), bundles }, {});
    expect(derOf(cert as string)[1]).toBe(derOf(roots[1] as string)[0]);
  });
});
