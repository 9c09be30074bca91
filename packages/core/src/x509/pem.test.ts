import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { formatPem, parsePem } from './pem.js';

const malformed = expect.objectContaining({ code: 'ENMESH_X509_MALFORMED' });

describe('parsePem', () => {
  it.each([1, 47, 48, 49, 96, 1000])('reads %i bytes as formatPem wrote them', (size) => {
    const der = randomBytes(size);
    expect(parsePem(formatPem('CERTIFICATE', der), 'CERTIFICATE')).toEqual([der]);
  });

  it('returns the blocks of one label in their order and passes over all else', () => {
    const text = `# comment\n${formatPem('CERTIFICATE', Buffer.of(1))}\r\n${formatPem('PRIVATE KEY', Buffer.of(2))}${formatPem('CERTIFICATE', Buffer.of(3))}`;
    expect(parsePem(text, 'CERTIFICATE')).toEqual([Buffer.of(1), Buffer.of(3)]);
    expect(parsePem('no pem at all', 'CERTIFICATE')).toEqual([]);
  });

  it('reads CRLF and lines of any length', () => {
    const text = formatPem('CERTIFICATE', Buffer.alloc(100, 7)).replaceAll('\n', '\r\n');
    expect(parsePem(text, 'CERTIFICATE')).toEqual([Buffer.alloc(100, 7)]);
    expect(parsePem('-----BEGIN CERTIFICATE-----\nAQ\n==\n-----END CERTIFICATE-----', 'CERTIFICATE')).toEqual([Buffer.of(1)]);
  });

  it.each([
    ['no end', '-----BEGIN CERTIFICATE-----\nAQ==\n'],
    ['another end', '-----BEGIN CERTIFICATE-----\nAQ==\n-----END X-----\n-----END CERTIFICATE-----'],
    ['a block within', '-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----'],
    ['something that is no base64', '-----BEGIN CERTIFICATE-----\nA*Q==\n-----END CERTIFICATE-----'],
    ['base64 that is not canonical', '-----BEGIN CERTIFICATE-----\nAR==\n-----END CERTIFICATE-----'],
    ['no padding', '-----BEGIN CERTIFICATE-----\nAQ\n-----END CERTIFICATE-----'],
    ['nothing inside', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----'],
    ['more than 1 MiB', ' '.repeat((1 << 20) + 1)],
  ])('refuses %s', (_, text) => {
    expect(() => parsePem(text, 'CERTIFICATE')).toThrow(malformed);
  });
});
