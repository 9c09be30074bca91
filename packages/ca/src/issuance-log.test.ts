import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openIssuanceLog, type IssuanceRecord } from './issuance-log.js';

let directory = '';
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'enmesh-log-'))));
afterEach(() => rmSync(directory, { recursive: true }));

const path = (): string => join(directory, 'issued.jsonl');
const record = (serial: string): IssuanceRecord => ({
  time: '2026-01-01T00:00:00.000Z',
  serial,
  identity: 'spiffe://cluster.local/ns/shop/sa/gateway',
  method: 'jwt',
  proof: 'https://idp',
  notAfter: '2026-01-02T00:00:00.000Z',
  publicKeySha256: 'ab',
  address: '127.0.0.1',
});
const serials = (): string[] =>
  readFileSync(path(), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as IssuanceRecord).serial);

describe('the issuance log', () => {
  it('has each record on disk, in order, when its promise is kept, and goes on where it ended', async () => {
    let log = await openIssuanceLog(directory);
    await Promise.all(Array.from({ length: 50 }, (_, at) => log.append(record(String(at)))));
    expect(serials()).toEqual(Array.from({ length: 50 }, (_, at) => String(at)));
    await log.close();
    log = await openIssuanceLog(directory);
    await log.append(record('50'));
    await log.close();
    expect(serials()).toHaveLength(51);
    if (process.platform !== 'win32') expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it('begins a new line after one that a crash cut off', async () => {
    appendFileSync(path(), '{"time":"20');
    const log = await openIssuanceLog(directory);
    await log.append(record('1'));
    await log.close();
    expect(readFileSync(path(), 'utf8').split('\n')[1]).toContain('"serial":"1"');
  });

  it('rejects when it cannot be written, and when it cannot be opened', async () => {
    const log = await openIssuanceLog(directory);
    await log.close();
    const failed = expect.objectContaining({ code: 'ENMESH_CA_LOG' }) as Error;
    await expect(log.append(record('1'))).rejects.toThrow(failed);
    await expect(openIssuanceLog(join(directory, 'absent'))).rejects.toThrow(failed);
  });
});
