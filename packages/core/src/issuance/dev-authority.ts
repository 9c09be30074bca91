import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { formatIstioId } from '../identity/spiffe-id.js';
import type { X509Svid } from '../identity/svid.js';
import { fixedTrustBundleSource } from '../identity/trust-bundle.js';
import { parseTrustDomain } from '../identity/trust-domain.js';
import type { Workload } from '../identity/workload.js';
import { noticeEvents } from '../telemetry/events.js';
import { issueCertificate, rootOptions, svidOptions } from '../x509/certificate.js';
import { parseX509Svid } from '../x509/svid-verify.js';
import { authorityFile, publishAuthority, readAuthority, writeCompanions, type AuthorityKeys } from './authority-file.js';
import { productionSign } from './environment.js';
import { withLock } from './lock.js';
import { createRotation } from './rotation.js';
import type { Timer } from './timer.js';

/** Whose development identity, and where its authority lives. */
export interface DevIdentityOptions {
  /** The directory of the authority, usually `.enmesh`; created when absent. Processes that share it trust each other. */
  readonly directory: string;
  readonly workload: Workload;
  readonly trustDomain: string;
  /** Start even where the environment looks like production. */
  readonly allowAnywhere?: boolean;
  /** Life of an SVID in milliseconds, at least 1000; default one hour. */
  readonly ttlMs?: number;
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
  /** From 0 to below 1; default `Math.random`. */
  readonly random?: () => number;
  /** Default `setTimeout`, unref'ed. */
  readonly timer?: Timer;
}

/** An identity from the development authority: it renews itself until it is closed. */
export interface DevIdentity extends MeshIdentity {
  /** Resolves at once: a development identity is held from the start. */
  ready(): Promise<void>;
  close(): void;
}

const minute = 60_000;
const hour = 60 * minute;
const tenYears = 3_652 * 24 * hour;

/**
 * Gives a workload on a laptop its identity `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, from an authority in a directory that the
 * first process makes (key mode 0600, never overwritten) and the others find. Each process signs its own SVID: ECDSA P-256, for one hour, from a
 * minute ago, renewed at half of its life.
 * Throws `ENMESH_ISSUANCE_REFUSED_HERE` in what looks like production, `ENMESH_ISSUANCE_AUTHORITY_UNUSABLE`, `ENMESH_ISSUANCE_AUTHORITY_EXPIRED`,
 * `ENMESH_ISSUANCE_CLOCK`, `ENMESH_ISSUANCE_LOCKED`, or the errors of an impossible trust domain, namespace or service account.
 */
export async function createDevIdentity(options: DevIdentityOptions): Promise<DevIdentity> {
  const { clock = Date.now, ttlMs = hour } = options;
  if (!Number.isFinite(ttlMs) || ttlMs < 1000) throw new TypeError('ttlMs must be at least 1000 milliseconds');
  const trustDomain = parseTrustDomain(options.trustDomain);
  const uri = formatIstioId({ ...options.workload, trustDomain });
  refuseInProduction(options);
  const directory = resolve(options.directory);
  const authority = await openAuthority(directory, trustDomain, clock);
  const issue = (): Promise<X509Svid> => issueSvid({ authority, directory, uri, ttlMs, now: clock() });
  const rotation = createRotation({ ...options, issue, first: await issue() });
  const bundles = fixedTrustBundleSource(new Map([[trustDomain, { trustDomain, roots: [authority.rootPem] }]]));
  return { svid: rotation.svid, bundles, ready: () => rotation.ready(), close: () => rotation.close() };
}

function refuseInProduction(options: DevIdentityOptions): void {
  const sign = productionSign(options.env ?? process.env);
  if (sign === undefined) return;
  if (options.allowAnywhere !== true) {
    const message = `The development identity does not start here: ${sign}. Whoever reads its directory can be any workload.`;
    throw new EnmeshError('ENMESH_ISSUANCE_REFUSED_HERE', message);
  }
  const message = `The development identity runs although ${sign}: allowAnywhere is set`;
  if (noticeEvents.hasSubscribers) noticeEvents.publish({ kind: 'insecure-option', level: 'warn', message });
}

async function openAuthority(directory: string, trustDomain: string, clock: () => number): Promise<AuthorityKeys> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const authority =
      (await readAuthority(directory, trustDomain)) ??
      (await withLock(join(directory, 'authority.lock'), () => createAuthority(directory, trustDomain, clock())));
    await writeCompanions(directory, authority);
    return authority;
  } catch (error) {
    if (isEnmeshError(error)) throw error;
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    const message = `The directory ${directory} cannot be used for a development authority (${code}). Make it writable, or name another.`;
    throw new EnmeshError('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', message, { details: { path: directory } });
  }
}

async function createAuthority(directory: string, trustDomain: string, now: number): Promise<AuthorityKeys> {
  const made = await readAuthority(directory, trustDomain);
  if (made !== undefined) return made;
  const key = newKey();
  const rootPem = await issueCertificate({ ...rootOptions(trustDomain, key), notBefore: now - minute, notAfter: now + tenYears });
  await publishAuthority(directory, { rootPem, key });
  // Read back whatever stands there now: had another process been first, its authority counts.
  const stored = await readAuthority(directory, trustDomain);
  if (stored === undefined) throw new Error(`${authorityFile} vanished`);
  return stored;
}

interface SvidRequest {
  readonly authority: AuthorityKeys;
  readonly directory: string;
  readonly uri: string;
  readonly ttlMs: number;
  readonly now: number;
}

async function issueSvid({ authority, directory, uri, ttlMs, now }: SvidRequest): Promise<X509Svid> {
  checkClock(authority, directory, now);
  const key = newKey();
  const chain = await issueCertificate({
    ...svidOptions(uri, key),
    issuer: authority.rootPem,
    issuerKey: authority.key,
    notBefore: Math.max(now - minute, authority.notBefore),
    notAfter: Math.min(Math.ceil((now + ttlMs) / 1000) * 1000, authority.notAfter),
  });
  return parseX509Svid({ chain, privateKey: key });
}

function checkClock({ notBefore, notAfter }: AuthorityKeys, directory: string, now: number): void {
  const time = (ms: number): string => new Date(ms).toISOString();
  if (now < notBefore) {
    const message = `The clock (${time(now)}) stands before the beginning of the development authority in ${directory} (${time(notBefore)}). Set the clock.`;
    throw new EnmeshError('ENMESH_ISSUANCE_CLOCK', message);
  }
  if (now >= notAfter) {
    const message = `The development authority in ${directory} ended at ${time(notAfter)}. Delete the directory; the next start makes a new one.`;
    throw new EnmeshError('ENMESH_ISSUANCE_AUTHORITY_EXPIRED', message);
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}
