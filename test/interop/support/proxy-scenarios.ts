import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callTls } from '../../support/tls-lab.js';
import { createChainAuthority, writeMaterial, type ChainAuthority, type IssueRequest, type MaterialFiles } from './authority.js';
import { peerAuthentication } from '../../support/documents.js';
import { callService, createParty, entryYaml, openEcho, type Party } from './party.js';
import { freePort, listening, type Program, type Running } from './programs.js';

/** How a reverse proxy is told to stand in front of a service of ours, and to be one itself. */
export interface ProxyKind {
  readonly name: string;
  readonly program: Program;
  /** Starts it with the configuration that docs/identity.md prints, with these ports and files in the places of the printed ones. */
  startFront(o: {
    readonly directory: string;
    readonly port: number;
    readonly servicePort: number;
    readonly files: MaterialFiles;
    readonly only?: TlsVersion;
  }): Running;
  /** Starts it as a server that requires a client certificate of the roots. It answers 200 with what `peerOf` reads. */
  startServer(o: {
    readonly directory: string;
    readonly port: number;
    readonly files: MaterialFiles;
    readonly only?: TlsVersion;
  }): Running;
  /** What the server's answer says of the client: a SPIFFE ID, or that the proxy verified it. */
  peerOf(body: string): string;
}

/** The TLS versions of a mesh, each alone. */
export type TlsVersion = '1.2' | '1.3';

const dnsSans = ['product.shop.svc.cluster.local'];
const front = 'spiffe://cluster.local/ns/shop/sa/front';

/** The scenarios of one proxy, in front of a service of ours and behind a client of ours. */
export function describeProxy({ name, program, startFront, startServer, peerOf }: ProxyKind, clientSeen: string): void {
  describe(program.version, () => {
    const directory = mkdtempSync(join(tmpdir(), `enmesh-${name}-`));
    const running: Running[] = [];
    const parties: Party[] = [];
    let authority: ChainAuthority;
    let foreign: ChainAuthority;
    let folders = 0;

    beforeAll(async () => {
      [authority, foreign] = [await createChainAuthority(), await createChainAuthority('foreign.example')];
    });
    afterAll(async () => {
      for (const one of running) await one.stop();
      for (const one of parties) await one.close();
      rmSync(directory, { recursive: true, force: true });
    });

    const folder = (): string => join(directory, String(folders++));
    const files = async (request: IssueRequest, by = authority): Promise<MaterialFiles> =>
      writeMaterial(folder(), await by.issue(request), authority.rootPem);
    const start = async (how: (port: number) => Running): Promise<number> => {
      const port = await freePort();
      const one = how(port);
      running.push(one);
      await listening(one, port);
      return port;
    };
    const service = async (request: IssueRequest, o: { mode?: string; anyAlpn?: boolean; by?: ChainAuthority } = {}) => {
      const by = o.by ?? authority;
      const party = await createParty({
        serviceAccount: 'product',
        identity: await by.identity(request, by === authority ? [] : [authority]),
        documents: peerAuthentication(o.mode ?? 'STRICT'),
        permissiveAnyAlpn: o.anyAlpn ?? false,
        ...(by === authority ? {} : { meshConfig: `trustDomain: ${by.trustDomain}\ntrustDomainAliases: [cluster.local]\n` }),
      });
      parties.push(party);
      return { party, port: await openEcho(party) };
    };
    const inFrontOf = (servicePort: number, own: MaterialFiles, only?: TlsVersion): Promise<number> =>
      start((port) =>
        startFront({ directory: folder(), port, servicePort, files: own, ...(only === undefined ? {} : { only }) }),
      );
    const get = async (port: number): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${port}/`);
      const body = await response.text();
      return response.status === 200 ? body : String(response.status);
    };
    // nginx and HAProxy tell differently of a service that they cannot reach, and of one that ends the connection.
    const refused = /^50[23]$/;

    describe('in front of a service, as docs/identity.md prints it', () => {
      it('is let in by STRICT as the workload that its certificate names, however often', async () => {
        const { port } = await service({ serviceAccount: 'product', dnsSans });
        const proxy = await inFrontOf(port, await files({ serviceAccount: 'front' }));
        for (let i = 0; i < 25; i++) expect(await get(proxy)).toBe(front);
      });

      it.each(['1.2', '1.3'] as const)('speaks TLS %s', async (only) => {
        const { port } = await service({ serviceAccount: 'product', dnsSans });
        expect(await get(await inFrontOf(port, await files({ serviceAccount: 'front' }), only))).toBe(front);
      });

      it('is let in by PERMISSIVE only where that takes any ALPN', async () => {
        const own = await files({ serviceAccount: 'front' });
        const narrow = await service({ serviceAccount: 'product', dnsSans }, { mode: 'PERMISSIVE' });
        expect(await get(await inFrontOf(narrow.port, own))).toMatch(refused);
        const wide = await service({ serviceAccount: 'product', dnsSans }, { mode: 'PERMISSIVE', anyAlpn: true });
        expect(await get(await inFrontOf(wide.port, own))).toBe(front);
      });

      it('is kept out by a policy that does not name it', async () => {
        const { party, port } = await service({ serviceAccount: 'product', dnsSans });
        const proxy = await inFrontOf(port, await files({ serviceAccount: 'front' }));
        await party.write(`${peerAuthentication('STRICT')}---${policy('other')}`);
        expect(await get(proxy)).toBe('403');
        await party.write(`${peerAuthentication('STRICT')}---${policy('front')}`);
        expect(await get(proxy)).toBe(front);
      });

      it('is refused with a certificate of another trust domain, or one that has expired', async () => {
        const { port } = await service({ serviceAccount: 'product', dnsSans });
        const hour = 3_600_000;
        const expired = { serviceAccount: 'front', notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour };
        for (const own of [await files({ serviceAccount: 'front' }, foreign), await files(expired)])
          expect(await get(await inFrontOf(port, own))).toMatch(refused);
      });

      it('refuses a service whose certificate has not the DNS name, and one that the roots do not sign', async () => {
        const own = await files({ serviceAccount: 'front' });
        const nameless = await service({ serviceAccount: 'product' });
        const other = await service({ serviceAccount: 'product', dnsSans: ['stock.shop.svc.cluster.local'] });
        const unknown = await service({ serviceAccount: 'product', dnsSans }, { by: foreign });
        for (const { port } of [nameless, other, unknown]) expect(await get(await inFrontOf(port, own))).toMatch(refused);
      });
    });

    describe('as a server that requires a client certificate', () => {
      const serve = async (own: MaterialFiles, only?: TlsVersion): Promise<number> =>
        start((port) => startServer({ directory: folder(), port, files: own, ...(only === undefined ? {} : { only }) }));
      const client = async (port: number, by = authority): Promise<Party> => {
        const party = await createParty({
          serviceAccount: 'gateway',
          identity: await by.identity({ serviceAccount: 'gateway' }, by === authority ? [] : [authority]),
          documents: entryYaml('product', port),
          ...(by === authority ? {} : { meshConfig: `trustDomain: ${by.trustDomain}\ntrustDomainAliases: [cluster.local]\n` }),
        });
        parties.push(party);
        return party;
      };
      const ask = async (party: Party): Promise<string> => {
        const answer = await callService(party, 'product');
        return answer.startsWith('200 ') ? peerOf(answer.slice(4)) : answer;
      };

      it.each([undefined, '1.2', '1.3'] as const)('takes us (TLS %s)', async (only) => {
        const port = await serve(await files({ serviceAccount: 'product' }), only);
        expect(await ask(await client(port))).toBe(clientSeen);
      });

      it('refuses us where we are of another trust domain, and a client without a certificate', async () => {
        const port = await serve(await files({ serviceAccount: 'product' }));
        expect(await ask(await client(port, foreign))).toMatch(/^(?:400 |UND_ERR_SOCKET|ERR_SSL|ECONNRESET|EPIPE)/);
        expect((await callTls(port, {})).text).not.toMatch(/^HTTP\/1.1 200/);
      });

      it('is refused by us with the certificate of another workload, and of another trust domain', async () => {
        expect(await ask(await client(await serve(await files({ serviceAccount: 'other' }))))).toBe('ENMESH_TLS_SECURE_NAMING');
        const unknown = await serve(await files({ serviceAccount: 'product' }, foreign));
        expect(await ask(await client(unknown))).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
      });
    });
  });
}

const policy = (serviceAccount: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/${serviceAccount}"]}}]}]}
`;
