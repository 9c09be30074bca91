import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { FederatedDomain } from '../identity/federation.js';
import { readSettings, type MeshOptions } from './settings.js';

const folder = mkdtempSync(join(tmpdir(), 'enmesh-federation-'));
afterAll(() => rmSync(folder, { recursive: true }));

const read = (federation: string, env: NodeJS.ProcessEnv = {}, options: MeshOptions = {}): readonly FederatedDomain[] => {
  const file = join(folder, 'enmesh.yaml');
  writeFileSync(file, `namespace: shop\nconfig: mesh\nidentity: dev\n${federation}`);
  return readSettings({ file, env, ...options }).federation;
};
const web = '{trustDomain: partner.example, url: "https://partner.example/bundle"}';
const bySvid =
  '{trustDomain: other.example, url: "https://other.example:8443", profile: https_spiffe, endpointSpiffeId: spiffe://other.example/server, roots: other.pem}';

describe('federation', () => {
  it('is nothing where nobody speaks of it', () => {
    expect(read('')).toEqual([]);
  });

  it('is a list of bundle endpoints of both profiles, with paths from the file', () => {
    expect(read(`federation: [${web}, ${bySvid}]\n`)).toEqual([
      { trustDomain: 'partner.example', url: 'https://partner.example/bundle' },
      {
        trustDomain: 'other.example',
        url: 'https://other.example:8443',
        profile: 'https_spiffe',
        endpointSpiffeId: 'spiffe://other.example/server',
        roots: join(folder, 'other.pem'),
      },
    ]);
  });

  it('needs no roots where the server is of another trust domain than its bundle', () => {
    const list = `federation: [{trustDomain: other.example, url: "https://b.example", profile: https_spiffe, endpointSpiffeId: spiffe://cluster.local/bundles}]\n`;
    expect(read(list)).toHaveLength(1);
  });

  it('is whole what the environment says, and whole what code says before that', () => {
    const env = { ENMESH_FEDERATION: 'a.example=https://a.example/b?c=d, b.example=https://b.example/' };
    expect(read(`federation: [${web}]\n`, env)).toEqual([
      { trustDomain: 'a.example', url: 'https://a.example/b?c=d' },
      { trustDomain: 'b.example', url: 'https://b.example/' },
    ]);
    const federation = [{ trustDomain: 'c.example', url: 'https://c.example/', roots: 'c.pem' }];
    expect(read('', env, { federation })).toEqual([{ ...federation[0], roots: resolve('c.pem') }]);
    expect(read(`federation: [${web}]\n`, { ENMESH_FEDERATION: ' ' }, {})).toHaveLength(1);
    expect(read(`federation: [${web}]\n`, {}, { federation: [] })).toEqual([]);
  });

  it.each<[RegExp, string]>([
    [/federation: must be a list, not a map/, `federation: ${web}\n`],
    [/federation\[0\]: lacks "url"/, 'federation: [{trustDomain: a.example}]\n'],
    [/there is no field "trustdomain" here.*did you mean "trustDomain"/, 'federation: [{trustdomain: a.example}]\n'],
    [
      /federation\[0\].url: must be the URL of a SPIFFE bundle endpoint, and is not https/,
      `federation: [${web.replace('https:', 'http:')}]\n`,
    ],
    [
      /must be one of https_web, https_spiffe.*did you mean https_spiffe/s,
      `federation: [${bySvid.replace('https_spiffe', 'https_spife')}]\n`,
    ],
    [/endpointSpiffeId: belongs to the profile https_spiffe/, `federation: [${bySvid.replace('profile: https_spiffe, ', '')}]\n`],
    [/lacks "endpointSpiffeId"/, `federation: [${web.replace('}', ', profile: https_spiffe}')}]\n`],
    [/is no SPIFFE ID/, `federation: [${bySvid.replace('spiffe://other.example/server', 'https://other.example/')}]\n`],
    [/lacks "roots".*first bundle of other.example/, `federation: [${bySvid.replace(', roots: other.pem', '')}]\n`],
    [/federation\[1\].trustDomain: "partner.example" is named twice/, `federation: [${web}, ${web}]\n`],
  ])('is refused with %s', (words, federation) => {
    expect(() => read(federation)).toThrow(
      expect.objectContaining({ code: 'ENMESH_CONFIG_SERVICE_FILE_INVALID', message: expect.stringMatching(words) as unknown }),
    );
  });

  it.each([
    ['partner.example', /not trust-domain=URL/],
    ['https://me:hunter2@partner.example', /not trust-domain=URL/],
    ['partner.example=http://partner.example', /ENMESH_FEDERATION: federation\[0\].url: must be the URL .* is not https/],
    ['p.example=https://me:hunter2@p.example', /has a user/],
    ['P=https://p.example', /"P" is no trust domain/],
  ])('is refused with ENMESH_FEDERATION=%s', (words, message) => {
    const refused = { code: 'ENMESH_CONFIG_FEDERATION_INVALID', message: expect.stringMatching(message) as unknown };
    let thrown: unknown;
    try {
      read('', { ENMESH_FEDERATION: words });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject(refused);
    expect(String(thrown)).not.toContain('hunter2');
  });

  it('is refused from code with the words of the file', () => {
    const federation = [{ trustDomain: 'a.example', url: 'http://a.example' }];
    expect(() => read('', {}, { federation })).toThrow(TypeError);
    expect(() => read('', {}, { federation })).toThrow(/^createMesh: federation\[0\].url: must be/);
  });
});
