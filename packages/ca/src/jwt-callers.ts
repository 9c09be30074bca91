import { createBearerVerifier, type BearerIssuer, type BearerVerifier, type RequestIdentity } from '@enmesh/core/jwt';
import { EnmeshError, fileProblem, isEnmeshError, noticeEvents, readSmallFile } from '@enmesh/core/issuance';
import { unproved } from './callers.js';
import type { IdentityMapping, IssuerSettings } from './settings.js';

/** Finds service accounts behind tokens of known issuers. */
export interface TokenCallers {
  /** Undefined for a token of an issuer that is not known here. Rejects with `ENMESH_CA_UNPROVED` for one that proves nobody. */
  identify(
    token: string,
    now: number,
  ): Promise<{ readonly issuer: string; readonly namespace: string; readonly serviceAccount: string } | undefined>;
  close(): void;
}

interface Source {
  readonly settings: IssuerSettings;
  verifier: BearerVerifier;
  /** What tells whether a file of keys has changed. */
  mark: string;
}

const maxKeySetBytes = 1 << 20;

/**
 * Opens the issuers of tokens. Waits until each key set that is fetched was tried once. Rejects with `ENMESH_CA_SETTINGS` when a file of keys cannot be
 * read or has none; one that goes bad later leaves the last good keys and tells so.
 */
export async function openTokenCallers(issuers: readonly IssuerSettings[], clock: () => number): Promise<TokenCallers> {
  const sources = await Promise.all(issuers.map((settings) => openSource(settings, clock)));
  await Promise.all(sources.map(({ verifier }) => verifier.ready()));
  return {
    async identify(token, now) {
      for (const source of sources) {
        await refresh(source, clock);
        const outcome = source.verifier.verify(token, now);
        if (!('ok' in outcome)) return { issuer: source.settings.issuer, ...accountOf(outcome, source.settings) };
        if (outcome.code !== 'ENMESH_JWT_ISSUER') throw unproved(`the token: ${outcome.reason}`);
      }
      return undefined;
    },
    close() {
      for (const { verifier } of sources) verifier.close();
    },
  };
}

async function openSource(settings: IssuerSettings, clock: () => number): Promise<Source> {
  try {
    const { issuer, mark } = await readIssuer(settings);
    return { settings, verifier: createBearerVerifier({ issuers: [issuer], clock }), mark };
  } catch (error) {
    const reason = isEnmeshError(error) ? error.message : `${settings.jwksFile ?? 'its keys'}: ${fileProblem(error)}`;
    throw new EnmeshError('ENMESH_CA_SETTINGS', `jwt: issuer ${JSON.stringify(settings.issuer)}: ${reason}`);
  }
}

async function refresh(source: Source, clock: () => number): Promise<void> {
  if (source.settings.jwksFile === undefined) return;
  try {
    const { issuer, mark } = await readIssuer(source.settings);
    if (mark === source.mark) return;
    source.mark = mark;
    source.verifier = createBearerVerifier({ issuers: [issuer], clock });
  } catch (error) {
    if (!noticeEvents.hasSubscribers) return;
    const reason = isEnmeshError(error) ? error.message : fileProblem(error);
    const message = `${source.settings.jwksFile}: ${reason}; the last good keys stay in use`;
    noticeEvents.publish({ kind: 'key-set-failed', level: 'error', code: 'ENMESH_CA_SETTINGS', message });
  }
}

async function readIssuer(settings: IssuerSettings): Promise<{ readonly issuer: BearerIssuer; readonly mark: string }> {
  const { issuer: name, audiences, jwksFile, jwksUri, insecureHttp } = settings;
  const file = jwksFile === undefined ? undefined : await readSmallFile(jwksFile, maxKeySetBytes);
  const jwks = file?.text ?? settings.jwks;
  const issuer: BearerIssuer = {
    issuer: name,
    audiences,
    insecureHttp,
    ...(jwks === undefined ? {} : { jwks }),
    ...(jwksUri === undefined ? {} : { jwksUri }),
  };
  return { issuer, mark: file?.mark ?? '' };
}

function accountOf(
  user: RequestIdentity,
  settings: IssuerSettings,
): { readonly namespace: string; readonly serviceAccount: string } {
  const { subject } = user;
  // A token that never ends would prove its holder for ever.
  if (!Number.isFinite(user.expiresAt)) throw unproved('the token has no exp');
  if (subject === undefined) throw unproved('the token has no sub');
  const mapped = settings.identities.filter((mapping) => mapping.subject === subject && hasClaims(user, mapping));
  // The mapping that demands most wins; two that demand as much and differ would be a matter of order.
  const most = Math.max(...mapped.map(({ claims }) => Object.keys(claims).length));
  const [best, rival] = mapped.filter(({ claims }) => Object.keys(claims).length === most);
  if (best !== undefined && rival === undefined) return best;
  if (best !== undefined) throw unproved('two mappings fit the token alike');
  const account = settings.kubernetesSubjects ? parseServiceAccount(subject) : undefined;
  if (account === undefined) throw unproved('no mapping names the subject of the token');
  return account;
}

function hasClaims({ claims }: RequestIdentity, mapping: IdentityMapping): boolean {
  return Object.entries(mapping.claims).every(([name, value]) => Object.hasOwn(claims, name) && claims[name] === value);
}

/** The service account that Kubernetes calls `system:serviceaccount:NAMESPACE:NAME`, undefined for any other text. */
export function parseServiceAccount(name: string): { readonly namespace: string; readonly serviceAccount: string } | undefined {
  const [, namespace, serviceAccount] = /^system:serviceaccount:([^:/]+):([^:/]+)$/.exec(name) ?? [];
  return namespace === undefined || serviceAccount === undefined ? undefined : { namespace, serviceAccount };
}
