import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { noticeEvents, type IstioIdentitySettings, type NoticeEvent, type PlatformIdentity } from '@enmesh/core/issuance';
import { createTestClock, type TestClock } from '@enmesh/core/testing';
import { issueCertificate } from '@enmesh/core/x509';
import { afterEach, beforeEach } from 'vitest';
import { openIstioIdentity, type IstioIdentityWorld } from '../../packages/istio/src/identity.js';
import { newKey, startTestCa, type Signer, type TestCa, type TestCaOptions } from './istio-ca.js';
import { until } from './waiting.js';

/** The identity that the tests ask for. */
export const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
/** Milliseconds. */
export const hour = 3_600_000;
/** Whose identity it is. */
export const asked = { workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} }, trustDomain: 'cluster.local' };

let notices: NoticeEvent[] = [];
let stops: (() => unknown)[] = [];

/** Begins and ends each test of the file on a clean stage. */
export function useIstioStage(): void {
  beforeEach(() => {
    notices = [];
    stops = [noticeEvents.subscribe((notice) => void notices.push(notice))];
  });
  afterEach(async () => {
    for (const stop of stops.reverse()) await stop();
  });
}

/** To be done when the test ends. */
export const atEnd = (stop: () => unknown): void => void stops.push(stop);

/** A CA that ends with the test. */
export const start = async (options: TestCaOptions = {}): Promise<TestCa> => {
  const ca = await startTestCa(options);
  stops.push(() => ca.close());
  return ca;
};

/** Pauses between tries pass at once; everything else keeps its time. */
export const soon: IstioIdentityWorld = {
  random: () => 0.5,
  timer(run, ms) {
    const handle = setTimeout(run, ms < 5_000 ? 0 : ms);
    return () => clearTimeout(handle);
  },
};

/** An identity from this CA, ECDSA P-256 unless said otherwise. */
export const open = (
  ca: Pick<TestCa, 'address' | 'rootFile' | 'tokenFile'>,
  settings: IstioIdentitySettings = {},
  world = soon,
): PlatformIdentity => {
  const { address, rootFile: rootCert, tokenFile } = ca;
  const identity = openIstioIdentity(
    { ...asked, env: {}, address, rootCert, tokenFile, keyType: 'ecdsa-p256', ...settings },
    world,
  );
  stops.push(() => identity.close());
  return identity;
};

/** Life is an hour of a clock that the test moves. */
export const openOnClock = (ca: TestCa, env: NodeJS.ProcessEnv = {}): { identity: PlatformIdentity; clock: TestClock } => {
  const clock = createTestClock(Date.now());
  const { address, rootFile: rootCert, tokenFile } = ca;
  const identity = openIstioIdentity(
    { ...asked, address, rootCert, tokenFile, env, clock: clock.now, keyType: 'ecdsa-p256', ttlSeconds: 3600 },
    { random: () => 0.5, timer: clock.timer },
  );
  stops.push(() => identity.close());
  return { identity, clock };
};

/** The notices of a kind. */
export const told = (kind: NoticeEvent['kind']): NoticeEvent[] => notices.filter((notice) => notice.kind === kind);

/** The first failure that is told. */
export const failure = async (identity: PlatformIdentity): Promise<NoticeEvent> => {
  identity.ready().catch(() => undefined);
  await until(() => told('identity-renewal-failed').length > 0);
  const [first] = told('identity-renewal-failed');
  if (first === undefined) throw new Error('nothing was told');
  return first;
};

/** A certificate of the workload, as another program would hold it. */
export async function createLeaf(signer: Signer, from = -hour, life = hour): Promise<{ chain: string; key: string }> {
  const key = newKey();
  const chain = await issueCertificate({
    key,
    issuer: signer.rootPem,
    issuerKey: signer.key,
    uriSans: [uri],
    isCa: false,
    keyUsage: ['digitalSignature'],
    notBefore: Date.now() + from,
    notAfter: Date.now() + life,
  });
  return { chain, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
}

/** Puts it where PROV_CERT expects it. */
export function writeProvided(ca: TestCa, { chain, key }: { chain: string; key: string }): void {
  writeFileSync(join(ca.directory, 'cert-chain.pem'), chain);
  writeFileSync(join(ca.directory, 'key.pem'), key);
}
