import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueCertificate, parseX509Svid, svidOptions } from '@enmesh/core/x509';
import { startRealServer } from '../support/real-server.js';
import { describeWorkloadWorld } from './spire-scenarios.js';

interface SpireReady {
  readonly socket: string;
  readonly trustDomain: string;
  readonly ids: readonly [string, string];
  readonly federatesWith: string;
  readonly ttl: number;
  readonly bundle: string;
  readonly foreignBundle: string;
  readonly parentId: string;
  readonly cli: readonly [program: string, command: string, option: string, socket: string];
}

// Its start script takes the programs from PATH or SPIRE_BIN_DIR.
const server = await startRealServer<SpireReady>('spire', { SPIRE_X509_TTL: '60' });

describeWorkloadWorld(
  'two services of a real SPIRE agent, SVIDs of 60 seconds',
  async () => {
    if (server === undefined) throw new Error('skipped');
    const { ready, directory } = server;
    const [program, , option, adminSocket] = ready.cli;
    const spire = (...command: string[]): string => execFileSync(program, [...command, option, adminSocket]).toString();
    const [, second] = ready.ids;
    const isRegistered = (): string | undefined => /Entry ID\s*:\s*(\S+)/.exec(spire('entry', 'show', '-spiffeID', second))?.[1];
    return {
      socket: ready.socket,
      trustDomain: ready.trustDomain,
      ids: ready.ids,
      federated: ready.federatesWith,
      roots: readFileSync(ready.bundle, 'utf8'),
      renewalMs: ready.ttl * 1000,
      async foreignSvid() {
        const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
        const chain = await issueCertificate({
          ...svidOptions(`spiffe://${ready.federatesWith}/ns/shop/sa/partner`, key),
          issuer: readFileSync(ready.foreignBundle, 'utf8'),
          issuerKey: createPrivateKey(readFileSync(join(directory, 'foreign.key'))),
          notBefore: Date.now(),
          notAfter: Date.now() + 600_000,
        });
        return parseX509Svid({ chain, privateKey: key });
      },
      restartAgent: async () => server.signal('SIGUSR1'),
      async removeSecond() {
        const id = isRegistered();
        if (id !== undefined) spire('entry', 'delete', '-entryID', id);
      },
      async restoreSecond() {
        const selector = `unix:uid:${process.getuid?.() ?? 0}`;
        const entry = ['-parentID', ready.parentId, '-spiffeID', second, '-selector', selector, '-hint', 'second'];
        spire('entry', 'create', ...entry);
      },
      stop: () => server.stop(),
    };
  },
  server === undefined,
);
