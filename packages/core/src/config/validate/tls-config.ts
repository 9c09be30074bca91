import { createSecureContext, getCiphers } from 'node:tls';
import type { TlsDefaults } from '../../tls/origination.js';
import { entryOf } from '../node.js';
import { joinPath, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, oneOf, record, refined, text, type Shape } from '../shape.js';
import { spellingHint } from '../spelling.js';

/** What Istio admits (its ValidCipherSuites), in OpenSSL's names: suites of TLS 1.2 with a certificate. Those of TLS 1.3 cannot be chosen there either. */
const istioSuites: readonly string[] = [
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ...['ECDHE-RSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ...['ECDHE-ECDSA-AES128-SHA', 'ECDHE-RSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA', 'ECDHE-RSA-AES256-SHA'],
  ...['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'AES128-SHA', 'AES256-SHA', 'DES-CBC3-SHA'],
];

/** Istio's ValidECDHCurves without its drafts. */
const istioCurves: readonly string[] = ['P-256', 'P-384', 'P-521', 'X25519', 'X25519MLKEM768', 'P-224'];

const isKnownHere = (suite: string): boolean => getCiphers().includes(suite.toLowerCase());

const cipherSuite = refined(text({ min: 1, max: 100 }), (value, place) => {
  if (!istioSuites.includes(value)) return void invalidAt(place, `${quote(value)} is no cipher suite`, suiteHint(value));
  if (!isKnownHere(value))
    invalidAt(place, `${quote(value)} is no cipher suite of this Node.js`, 'remove it: its OpenSSL has left it out');
});

/** IANA's names and those of TLS 1.3 are what people write most. */
function suiteHint(value: string): string {
  if (/^TLS_(AES|CHACHA20)_/i.test(value)) return 'suites of TLS 1.3 are always offered and cannot be chosen, as in Istio';
  const translated = value
    .replace(/^TLS_/i, '')
    .replace(/_WITH_|_CBC_/gi, '-')
    .replace(/^RSA-/i, '')
    .replace(/(AES)_/gi, '$1')
    .replace(/_/g, '-')
    .replace(/(POLY1305)-SHA256$/i, '$1');
  return spellingHint(translated, istioSuites.filter(isKnownHere));
}

/** Curves are known by what OpenSSL takes: newer lines of Node know more of them. */
const ecdhCurve = refined(text({ min: 1, max: 100 }), (value, place) => {
  const problem = `${quote(value)} is no curve of this Node.js`;
  if (!/^[\w-]+$/.test(value)) return void invalidAt(place, problem, 'write one curve in each entry');
  try {
    createSecureContext({ ecdhCurve: value });
  } catch {
    const others = istioCurves.filter((curve) => curve !== value);
    invalidAt(place, problem, spellingHint(value.replace(/^(prime|secp)/i, 'P-').replace(/[rv]1$/i, ''), others));
  }
});

const protocol = oneOf('TLS_AUTO', 'TLSV1_2', 'TLSV1_3');

/** What MeshConfig says of mutual TLS in the mesh, Istio's field names. */
export interface MeshTls {
  readonly minProtocolVersion?: string;
  readonly cipherSuites?: readonly string[];
}

const noCurves = refined(listOf(text()), (value, place) => {
  if (value.length > 0)
    invalidAt(place, 'Istio has no choice of curves in the mesh', 'tlsDefaults.ecdhCurves is for servers outside it');
});

/** `meshMTLS`: how servers take mutual TLS. */
export const meshMtls: Shape<MeshTls> = record<MeshTls & { ecdhCurves?: readonly string[] }>({
  minProtocolVersion: protocol,
  cipherSuites: listOf(cipherSuite, { max: 100 }),
  ecdhCurves: noCurves,
});

const defaultFields = record<Partial<TlsDefaults> & { minProtocolVersion?: string }>({
  cipherSuites: listOf(cipherSuite, { max: 100 }),
  ecdhCurves: listOf(ecdhCurve, { max: 100 }),
  minProtocolVersion: protocol,
});

/** `tlsDefaults`: how TLS is originated to servers outside the mesh (DestinationRule modes SIMPLE and MUTUAL). */
export const tlsDefaults: Shape<Partial<TlsDefaults>> = (place) => {
  const value = defaultFields(place);
  if (value?.minProtocolVersion !== undefined && value.minProtocolVersion !== 'TLS_AUTO') warnVersion(place);
  return value;
};

function warnVersion(place: Place): void {
  const entry = entryOf(place.node, 'minProtocolVersion');
  if (entry === undefined) return;
  const at = { ...place, node: { ...entry.value, offset: entry.keyOffset }, path: joinPath(place.path, 'minProtocolVersion') };
  warnAt(
    at,
    'ENMESH_CONFIG_PASSED_OVER',
    'this field is for servers of gateways, in Istio too, and enmesh has none',
    'meshMTLS.minProtocolVersion is for servers of the mesh; TLS to servers outside it is 1.2 or better',
  );
}
