import { EnmeshError } from '../errors.js';

const maxText = 1 << 20;

/**
 * The DER bytes of every PEM block with this label (`CERTIFICATE`, ...), in the order of the text; blocks of other labels and text between
 * blocks are passed over (RFC 7468). A block without an end or with anything but canonical base64 throws `ENMESH_X509_MALFORMED`,
 * and so does a text over 1 MiB.
 */
export function parsePem(text: string, label: string): Buffer[] {
  return pemBlocks(text)
    .filter((block) => block.label === label)
    .map((block) => decode(block.body, label));
}

/** Writes one PEM block with lines of 64 characters and a line feed at its end. */
export function formatPem(label: string, der: Uint8Array): string {
  const body = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

/** One block of a PEM text: its label, the base64 between its borders, and the whole of it as it stood there. */
export interface PemBlock {
  readonly label: string;
  readonly body: string;
  readonly text: string;
}

/** Every block of a PEM text without decoding any. Throws `ENMESH_X509_MALFORMED` for a block that does not end. */
export function pemBlocks(text: string): PemBlock[] {
  if (text.length > maxText) throw malformed('a PEM text is at most 1 MiB long');
  const blocks: PemBlock[] = [];
  const begin = /^-----BEGIN ([A-Z0-9 ]{1,64})-----[ \t]*$/gm;
  for (let found = begin.exec(text); found !== null; found = begin.exec(text)) {
    const label = found[1] ?? '';
    const border = `-----END ${label}-----`;
    const end = text.indexOf(border, begin.lastIndex);
    const body = text.slice(begin.lastIndex, end);
    if (end < 0 || body.includes('-----')) throw malformed(`a ${label} block does not end`);
    blocks.push({ label, body, text: text.slice(found.index, end + border.length) + '\n' });
    begin.lastIndex = end + border.length;
  }
  return blocks;
}

function decode(body: string, label: string): Buffer {
  const base64 = body.replace(/[\r\n\t ]+/g, '');
  const der = Buffer.from(base64, 'base64');
  // Buffer skips what is no base64; only a canonical text comes out again as it went in.
  if (der.length === 0 || der.toString('base64') !== base64) throw malformed(`a ${label} block is not base64`);
  return der;
}

function malformed(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_X509_MALFORMED', `Not a PEM text: ${reason}`);
}
