import { sign, X509Certificate, type KeyObject } from 'node:crypto';
import { readCertificateFacts } from '@enmesh/core/x509';

/** What a revocation list says; times are UTCTime, `260101000000Z`. */
export interface CrlOptions {
  /** PEM of the certificate that issues the list, and its key, ECDSA on P-256. */
  readonly issuer: string;
  readonly key: KeyObject;
  /** Serial numbers in hexadecimal. */
  readonly serials: readonly string[];
  readonly nextUpdate?: string;
  /** One extension in DER, of the list or of each entry. */
  readonly listExtension?: Buffer;
  readonly entryExtension?: Buffer;
}

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
};
const sequence = (...parts: Uint8Array[]): Buffer => tlv(0x30, ...parts);
const time = (text: string): Buffer => tlv(0x17, Buffer.from(text));
const integer = (hex: string): Buffer => {
  const magnitude = Buffer.from(hex, 'hex');
  return tlv(0x02, (magnitude[0] ?? 0) < 0x80 ? magnitude : Buffer.concat([Buffer.of(0), magnitude]));
};
const ecdsaSha256 = sequence(tlv(0x06, Buffer.from('2a8648ce3d040302', 'hex')));

/** An extension with the OID of delta lists, critical or not. */
export function crlExtension(critical: boolean): Buffer {
  const oid = tlv(0x06, Buffer.of(0x55, 0x1d, 0x1b));
  return sequence(oid, ...(critical ? [tlv(0x01, Buffer.of(0xff))] : []), tlv(0x04, Buffer.of(2, 1, 0)));
}

/** Writes a certificate revocation list (RFC 5280 section 5) in DER, all of it revoked on 1 January 2026. */
export function writeCrl({ issuer, key, serials, nextUpdate, listExtension, entryExtension }: CrlOptions): Buffer {
  const { subjectDer } = readCertificateFacts(new X509Certificate(issuer).raw);
  const entries = serials.map((serial) =>
    sequence(integer(serial), time('260101000000Z'), ...(entryExtension ? [sequence(entryExtension)] : [])),
  );
  const body = sequence(
    tlv(0x02, Buffer.of(1)),
    ecdsaSha256,
    subjectDer,
    time('260101000000Z'),
    ...(nextUpdate === undefined ? [] : [time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    ...(listExtension === undefined ? [] : [tlv(0xa0, sequence(listExtension))]),
  );
  return sequence(body, ecdsaSha256, tlv(0x03, Buffer.of(0), sign('sha256', body, key)));
}
