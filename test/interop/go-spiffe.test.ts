import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { peerAuthentication, serviceEntry } from '../support/documents.js';
import { createChainAuthority, writeMaterial, type ChainAuthority } from './support/authority.js';
import { callService, createParty, entryYaml, federationYaml, openEcho, type Party, type PartyOptions } from './support/party.js';
import { findProgram, startProgram, type Running } from './support/programs.js';

const program = findProgram('go-spiffe-peer', 'version');

/** What the client of the Go peer says of one call. */
interface Outcome {
  readonly status?: number;
  readonly body?: string;
  readonly peer?: string;
  readonly version?: string;
  readonly error?: string;
}

const id = (serviceAccount: string, trustDomain = 'cluster.local'): string =>
  `spiffe://${trustDomain}/ns/shop/sa/${serviceAccount}`;

describe.skipIf(program === undefined)(`a peer over ${program?.version ?? 'go-spiffe'}`, () => {
  let directory = '';
  const running: Running[] = [];
  const parties: Party[] = [];
  let authority: ChainAuthority;
  let foreign: ChainAuthority;
  let folders = 0;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'enmesh-go-spiffe-'));
    [authority, foreign] = [await createChainAuthority(), await createChainAuthority('foreign.example', { isFlat: true })];
  });
  afterAll(async () => {
    for (const one of running) await one.stop();
    for (const one of parties) await one.close();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  });

  /** The peer's own certificate, the bundles that it knows, and whom it authorizes. */
  const peerArguments = async (
    o: { serviceAccount?: string; by?: ChainAuthority; knows?: readonly ChainAuthority[]; tls?: string },
    authorize: readonly string[],
  ): Promise<string[]> => {
    const { serviceAccount = 'product', by = authority, knows = [authority], tls } = o;
    const files = writeMaterial(join(directory, String(folders++)), await by.issue({ serviceAccount }), by.rootPem);
    const bundles = knows.flatMap((one) => {
      const { roots } = writeMaterial(join(directory, String(folders++)), { chain: '', leaf: '', key: '' }, one.rootPem);
      return ['-bundle', `${one.trustDomain}=${roots}`];
    });
    return ['-cert', files.cert, '-key', files.key, ...bundles, ...(tls === undefined ? [] : ['-tls', tls]), ...authorize];
  };
  const party = async (options: PartyOptions): Promise<Party> => {
    const made = await createParty(options);
    parties.push(made);
    return made;
  };
  const own = async (serviceAccount: string, documents: string, more: Partial<PartyOptions> = {}): Promise<Party> =>
    party({ serviceAccount, identity: await authority.identity({ serviceAccount }), documents, ...more });
  const federation = () => ({ meshConfig: federationYaml(foreign) });

  describe('as a server', () => {
    const serve = async (...args: Parameters<typeof peerArguments>): Promise<number> => {
      const one = startProgram(program!, ['server', ...(await peerArguments(...args))]);
      running.push(one);
      return new Promise((done, fail) => {
        one.child.stdout!.once('data', (chunk: Buffer) => done((JSON.parse(chunk.toString()) as { port: number }).port));
        one.child.once('exit', () => fail(new Error(one.said())));
      });
    };
    const ask = async (port: number, entry = entryYaml('product', port), more: Partial<PartyOptions> = {}): Promise<string> =>
      callService(await own('gateway', entry, more), 'product');
    /** With TLS 1.3 a client learns of its refusal only when it has sent. */
    const refusal = /^(?:UND_ERR_SOCKET|ERR_SSL\w*|ECONNRESET|EPIPE)$/;

    it.each(['1.2', '1.3'])('takes us by our SPIFFE ID (TLS %s)', async (tls) => {
      expect(await ask(await serve({ tls }, ['-id', id('gateway')]))).toBe(`200 ${id('gateway')}`);
    });

    it('takes us as a member of the trust domain', async () => {
      expect(await ask(await serve({}, ['-member', 'cluster.local']))).toBe(`200 ${id('gateway')}`);
    });

    it('refuses us where it authorizes another ID, or another trust domain', async () => {
      expect(await ask(await serve({}, ['-id', id('other')]))).toMatch(refusal);
      expect(await ask(await serve({}, ['-member', 'foreign.example']))).toMatch(refusal);
    });

    it('refuses us where it has no bundle of our trust domain', async () => {
      expect(await ask(await serve({ knows: [foreign] }, ['-member', 'cluster.local']))).toMatch(refusal);
    });

    it('is refused by us where it has another ID than the service may have', async () => {
      const port = await serve({ serviceAccount: 'other' }, ['-id', id('gateway')]);
      expect(await ask(port)).toBe('ENMESH_TLS_SECURE_NAMING');
    });

    it('is refused by us where it is of a trust domain without a bundle, and taken where there is one', async () => {
      const port = await serve({ by: foreign, knows: [authority, foreign] }, ['-id', id('gateway')]);
      const partner = serviceEntry({ name: 'product', port, subjectAltNames: [id('product', 'foreign.example')] });
      expect(await ask(port)).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
      expect(await ask(port, partner)).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
      expect(await ask(port, entryYaml('product', port), federation())).toBe('ENMESH_TLS_SECURE_NAMING');
      expect(await ask(port, partner, federation())).toBe(`200 ${id('gateway')}`);
    });
  });

  describe('as a client', () => {
    const call = async (port: number, ...args: Parameters<typeof peerArguments>): Promise<Outcome> => {
      const one = startProgram(program!, ['client', ...(await peerArguments(...args)), `https://127.0.0.1:${port}/`]);
      running.push(one);
      let out = '';
      one.child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()));
      await new Promise((done) => one.child.once('close', done));
      return JSON.parse(out) as Outcome;
    };
    const gateway = { serviceAccount: 'gateway' };
    const product = ['-id', id('product')];
    const callers = (serviceAccount: string): string => `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/${serviceAccount}"]}}]}]}
`;

    it.each([
      ['1.2', 'TLS 1.2'],
      ['1.3', 'TLS 1.3'],
    ])('is let in by STRICT as who it is (TLS %s)', async (tls, version) => {
      const port = await openEcho(await own('product', peerAuthentication('STRICT')));
      const outcome = await call(port, { ...gateway, tls }, product);
      expect(outcome).toMatchObject({ status: 200, body: id('gateway'), peer: id('product'), version });
    });

    it('is answered 403 where a policy names another', async () => {
      const port = await openEcho(await own('product', callers('other')));
      expect(await call(port, gateway, product)).toMatchObject({ status: 403, peer: id('product') });
    });

    it('is refused by PERMISSIVE, for it offers no ALPN, and let in where that takes any', async () => {
      const narrow = await openEcho(await own('product', peerAuthentication('PERMISSIVE')));
      expect((await call(narrow, gateway, product)).status).toBeUndefined();
      const wide = await openEcho(await own('product', peerAuthentication('PERMISSIVE'), { permissiveAnyAlpn: true }));
      expect(await call(wide, gateway, product)).toMatchObject({ status: 200, body: id('gateway') });
    });

    it('refuses us where it wants another ID, or has no bundle of our trust domain', async () => {
      const port = await openEcho(await own('product', peerAuthentication('STRICT')));
      expect((await call(port, gateway, ['-id', id('other')])).error).toContain(`unexpected ID "${id('product')}"`);
      expect((await call(port, { ...gateway, knows: [foreign] }, product)).error).toContain('could not get X509 bundle');
    });

    it('is refused by us where it is of a trust domain without a bundle, and taken where there is one', async () => {
      const partner = { ...gateway, by: foreign };
      const alone = await openEcho(await own('product', peerAuthentication('STRICT')));
      expect((await call(alone, partner, product)).status).toBeUndefined();
      const federated = await openEcho(await own('product', peerAuthentication('STRICT'), federation()));
      expect(await call(federated, partner, product)).toMatchObject({ status: 200, body: id('gateway', 'foreign.example') });
    });

    // docs/deviations.md: Node 24 shows a server no intermediates, so it cannot be seen which of several roots signed a client behind one.
    const showsIntermediates = Number.parseInt(process.versions.node, 10) < 24;
    it(`behind an intermediate of a federated trust domain is ${showsIntermediates ? 'taken' : 'refused'} on this Node`, async () => {
      const chained = await createChainAuthority('foreign.example');
      const port = await openEcho(await own('product', peerAuthentication('STRICT'), { meshConfig: federationYaml(chained) }));
      const { status } = await call(port, { ...gateway, by: chained }, product);
      expect(status).toBe(showsIntermediates ? 200 : undefined);
    });
  });
});
