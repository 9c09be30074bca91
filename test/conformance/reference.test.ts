import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { judge, type ReferenceVerdict } from '../reference/linear.js';
import type { DoorCase, DoorWorld } from './door-oracle-world.js';
import { readInboundOracle } from './inbound-oracle.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const file = resolve(oracle, 'inbound.ndjson.gz');
const present = existsSync(file);
if (!present) console.log(`skip: the inbound oracle was not found below ${oracle}`);

/** Answers of Envoy's codec, which show what its parser refuses. */
const ofTheCodec = /^(http1\.|http\.invalid_authority|missing_host_header|absolute_path_rejected|filter_removed)/;

/** Where the reference does not follow Envoy, by case: nowhere. */
const exceptions: Readonly<Record<string, string>> = {};

/** Left out of the oracle's list of headers. */
const notCompared = /^(x-request-id|x-envoy-.*|x-forwarded-proto|x-forwarded-client-cert)$/;

interface Comparable {
  readonly outcome: string;
  readonly status: number | undefined;
  readonly body: string | undefined;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
  readonly audit: boolean | undefined;
  readonly dryRun: unknown;
  readonly path: string | undefined;
  readonly headers: Readonly<Record<string, readonly string[]>> | undefined;
  readonly forwardedClientCert: string | undefined;
}

/** Answers to HEAD have no body. */
const isBodyCompared = (status: number | undefined, { request }: DoorCase): boolean =>
  (status === 401 || status === 403) && request.method !== 'HEAD';

function ofReference(
  { outcome, status, body, policy, rule, audit, dryRun, upstream }: ReferenceVerdict,
  entry: DoorCase,
): Comparable {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of upstream?.lines ?? []) if (!notCompared.test(name)) (headers[name] ??= []).push(value);
  return {
    outcome,
    status,
    body: isBodyCompared(status, entry) ? body : undefined,
    policy,
    rule,
    audit,
    dryRun,
    path: upstream?.path,
    headers: upstream && headers,
    forwardedClientCert: upstream?.lines.find(([name]) => name === 'x-forwarded-client-cert')?.[1],
  };
}

function ofOracle(entry: DoorCase): Comparable {
  const { outcome, status, body = '', policy, rule, audit, dryRun, upstream } = entry.expect;
  const headers = upstream && { ...upstream.headers };
  // Envoy writes one into requests of some methods that came without a body.
  const isCounted = entry.request.headers.some(([name]) => name.toLowerCase() === 'content-length');
  if (!isCounted && headers?.['content-length']?.join() === '0') delete headers['content-length'];
  return {
    outcome,
    status,
    body: isBodyCompared(status, entry) ? body : undefined,
    policy,
    rule,
    audit,
    dryRun,
    path: upstream?.path,
    headers,
    forwardedClientCert: upstream?.forwardedClientCert,
  };
}

describe('the files of the linear reference', () => {
  it('import nothing but Node, yaml and each other', () => {
    const folder = resolve(import.meta.dirname, '../reference');
    const imported = readdirSync(folder).flatMap((name) =>
      [...readFileSync(resolve(folder, name), 'utf8').matchAll(/(?:from|import\() *'([^']+)'/g)].map(([, from = '']) => from),
    );
    expect(imported.length).toBeGreaterThan(10);
    expect(imported.filter((from) => !/^(node:|yaml$|\.\/[^/]+$)/.test(from))).toEqual([]);
  });
});

describe.skipIf(!present)('the linear reference', () => {
  const all = present ? readInboundOracle(file) : [];
  const compared = all.filter(
    ({ world, entry }) => !ofTheCodec.test(entry.expect.details ?? '') && !/action: *"?CUSTOM/.test(world.documents),
  );

  it('judges every request as Istio and Envoy did', () => {
    const disagreeing = compared
      .filter(({ world, entry }) => {
        const verdict = judge(world as DoorWorld, entry.connection, entry.request, Date.now());
        return !isDeepStrictEqual(ofReference(verdict, entry as DoorCase), ofOracle(entry as DoorCase));
      })
      .map(({ entry }) => entry.case);
    console.log(
      `reference: ${compared.length} of ${all.length} cases compared, ${compared.length - disagreeing.length} agree, ${disagreeing.length} excused`,
    );
    expect(disagreeing).toEqual(Object.keys(exceptions));
  });
});
