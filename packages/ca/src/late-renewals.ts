import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { issuanceLogFile } from './issuance-log.js';
import { codeOf } from './durable.js';

/** A certificate that has ended and wants to be renewed all the same. */
export interface EndedCertificate {
  /** Lower-case hexadecimal, as in the log. */
  readonly serial: string;
  readonly identity: string;
  /** SHA-256 of the public key's DER in lower-case hexadecimal. */
  readonly publicKeySha256: string;
}

/** Renewals of certificates that have ended: each at most once. */
export interface LateRenewals {
  /**
   * Uses the one late renewal of a certificate up: undefined where it may be renewed, else why not. Of several at the same time one is let through;
   * it counts as used for a minute, until when the log has its certificate.
   */
  take(ended: EndedCertificate): Promise<string | undefined>;
}

/** How much of the log's end is read, in bytes: some hundred thousand certificates. */
const maxBytes = 64 << 20;
const minute = 60_000;

/**
 * Creates the answer to whether a certificate may be renewed after its end: the issuance log of the authority says that it was given out here, to this
 * identity and with this key, and that nothing was given out for it since. Whoever has copied it after its owner renewed gets nothing, and where a copy was
 * quicker its owner is refused, which is seen. What cannot be read refuses. `clock` gives milliseconds since the epoch.
 */
export function createLateRenewals({
  directory,
  clock,
}: {
  readonly directory: string;
  readonly clock: () => number;
}): LateRenewals {
  const taken = new Map<string, number>();
  // One reading at a time: the log may be long.
  let reading: Promise<unknown> = Promise.resolve();
  return {
    async take(ended) {
      const now = clock();
      for (const [serial, at] of taken) if (Math.abs(now - at) > minute) taken.delete(serial);
      if (taken.has(ended.serial)) return 'it was renewed a moment ago';
      taken.set(ended.serial, now);
      const found = reading.then(() => objectionOf(directory, ended));
      reading = found.catch(() => {});
      const objection = await found.catch((error: unknown) => `the issuance log cannot be read (${codeOf(error)})`);
      if (objection !== undefined) taken.delete(ended.serial);
      return objection;
    },
  };
}

async function objectionOf(
  directory: string,
  { serial, identity, publicKeySha256 }: EndedCertificate,
): Promise<string | undefined> {
  const path = join(directory, issuanceLogFile);
  const { size } = await stat(path);
  const lines = createInterface({ input: createReadStream(path, { start: Math.max(0, size - maxBytes) }), crlfDelay: Infinity });
  let isKnown = false;
  for await (const line of lines) {
    if (!line.includes(serial)) continue;
    const record = parseRecord(line);
    if (record === undefined) return 'a line of the issuance log about it cannot be read';
    if (record.proof === serial) return `it was renewed at ${String(record.time)}`;
    if (record.serial !== serial) continue;
    if (record.identity !== identity || record.publicKeySha256 !== publicKeySha256)
      return 'the issuance log has another identity or key of it';
    isKnown = true;
  }
  return isKnown ? undefined : 'the issuance log does not have it';
}

function parseRecord(line: string): Partial<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
