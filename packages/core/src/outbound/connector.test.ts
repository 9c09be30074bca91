import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { MeshIdentity } from '../identity/source.js';
import { createConnector } from './connector.js';
import type { ServicePlan } from './plan.js';

const directory = mkdtempSync(join(tmpdir(), 'enmesh-connector-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** How the first connection of a service ends whose DestinationRule names these authorities. */
function connectBy(ca: string): Promise<Error | null> {
  const plan = {
    kind: 'service',
    service: 'stock',
    askedHost: 'stock',
    destination: { tls: 'SIMPLE', ca: `file:${ca}` },
    targets: [{ address: '127.0.0.1', port: 1, tls: 'SIMPLE' }],
  };
  const connector = createConnector({
    plan: plan as unknown as ServicePlan,
    identity: {} as MeshIdentity,
    timeoutMs: 5_000,
  });
  return new Promise((done) => connector.connect(0, (error) => done(error)));
}

describe('a connection by the files of a DestinationRule', () => {
  it('is refused at once where one of them is a pipe that nobody writes to, or a device that never ends', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const path of [pipe, '/dev/zero'])
      expect(await connectBy(path)).toMatchObject({
        code: 'ENMESH_OUTBOUND_TLS_SETTINGS',
        message: `call to stock refused: cannot read ${path} (it is no regular file)`,
      });
  });
});
