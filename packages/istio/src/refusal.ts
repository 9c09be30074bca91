import { status, type ServiceError } from '@grpc/grpc-js';
import { EnmeshError } from '@enmesh/core/issuance';
import { unusable } from './answer.js';
import type { Proof } from './proofs.js';
import type { IstioSettings } from './settings.js';

/** Those that Istio's agent tries again at once. */
const passing: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.INTERNAL,
  status.UNAVAILABLE,
]);

/** Whether a failed call may succeed when it is made again at once; an answer that was too long would be too long again. */
export function isPassing(error: unknown): boolean {
  return isServiceError(error) && passing.has(error.code) && !isTooLong(error);
}

const isDisbelieved = ({ code }: ServiceError): boolean => code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED;

/** Whether another proof may be believed where this one was not, or may get through where a certificate broke the handshake. */
export function mayAnotherProofDo(error: unknown, proof: Proof): boolean {
  // A certificate that OpenSSL does not take is no proof.
  if (!isServiceError(error)) return proof.certificate !== undefined;
  return isDisbelieved(error) || (proof.certificate !== undefined && error.code === status.UNAVAILABLE);
}

/** Whether the CA refused the life that was asked for: istiod does not shorten it by itself. */
export function isTtlRefused(error: unknown): boolean {
  return isServiceError(error) && error.code === status.INVALID_ARGUMENT && /\bTTL\b.*\bmax/i.test(error.details);
}

/** What a failed call means for people: what happened, and what to look at. Texts of the other side are cut, and nothing in them that could be a secret is repeated. */
export function refusalOf(error: unknown, settings: IstioSettings, proofs: readonly Proof[]): EnmeshError {
  const ca = `the CA at ${settings.host}:${settings.port}`;
  if (!isServiceError(error)) return unpreparedOf(error, ca, proofs.at(-1));
  const shown = proofs.map(({ description }) => description).join(' and ');
  const said = `${status[error.code] ?? error.code}${quoted(error.details)}`;
  const refused = (text: string): EnmeshError => new EnmeshError('ENMESH_ISSUANCE_CA_REFUSED', text);
  // istiod refuses the connection of an expired certificate, @enmesh/ca the call.
  if (proofs.at(-1)?.isLast === true && (isDisbelieved(error) || /alert certificate expired/i.test(error.details)))
    return new EnmeshError('ENMESH_ISSUANCE_CREDENTIAL_MISSING', `${ca} does not take ${shown} (${said})`);
  if (isTooLong(error)) return unusable('it is longer than 256 KiB');
  switch (error.code) {
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return refused(
        `${ca} did not believe ${shown} (${said}): is the token for its audience (${settings.audience}), unexpired, and of ${settings.uri}? The cause stands in the log of the CA`,
      );
    case status.UNIMPLEMENTED:
      return refused(`there is no certificate service at ${settings.host}:${settings.port} (${said}): istiod's is at port 15012`);
    case status.INVALID_ARGUMENT:
      return refused(`${ca} did not accept the request (${said})`);
    default:
      return passing.has(error.code) ? unreachable(error, settings, said) : refused(`${ca} failed (${said})`);
  }
}

/** The connection itself could not be made ready: only the code of OpenSSL or of the system is repeated. */
function unpreparedOf(error: unknown, ca: string, proof: Proof | undefined): EnmeshError {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  const text = `a connection to ${ca} cannot be prepared with ${proof?.description ?? 'nothing to prove'} (${code})`;
  return new EnmeshError('ENMESH_ISSUANCE_CA_UNREACHABLE', text);
}

function unreachable({ details }: ServiceError, settings: IstioSettings, said: string): EnmeshError {
  const { host, port, serverName, rootCert = 'the roots of the system' } = settings;
  const failed = (advice: string): EnmeshError =>
    new EnmeshError('ENMESH_ISSUANCE_CA_UNREACHABLE', `the CA at ${host}:${port} cannot be asked (${said}): ${advice}`);
  if (/altnames|ERR_TLS_CERT_ALTNAME/i.test(details))
    return failed(`its certificate is not one of ${serverName}; name another with serverName (ISTIOD_SAN)`);
  if (/self[- ]signed|issuer certificate|unable to verify|certificate signature|UNABLE_TO_/i.test(details))
    return failed(`its certificate is not signed by ${rootCert}; name its root with rootCert (CA_ROOT_CA)`);
  if (/certificate has expired|not yet valid/i.test(details))
    return failed('its certificate is not valid now; look at its clock and ours');
  return failed('is it running there, and reachable from here?');
}

const isTooLong = ({ code, details }: ServiceError): boolean =>
  code === status.RESOURCE_EXHAUSTED && /larger than max/i.test(details);

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && typeof (error as Partial<ServiceError>).code === 'number' && 'details' in error;
}

function quoted(details: string): string {
  // A long run of characters without a space may be a token or key that the other side repeats.
  const text = details
    .replace(/[^ -~]+/g, ' ')
    .replace(/\S{48,}/g, '...')
    .trim()
    .slice(0, 300);
  return text === '' ? '' : `: ${text}`;
}
