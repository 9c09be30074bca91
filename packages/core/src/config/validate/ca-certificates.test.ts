import { beforeAll, describe, expect, it } from 'vitest';
import { createTestAuthority, type TestAuthority } from '../../testing/authority.js';
import { formatProblem } from '../problem.js';
import { validateDocuments } from '../validate.js';

let own: TestAuthority;
let partner: TestAuthority;
beforeAll(async () => {
  own = await createTestAuthority();
  partner = await createTestAuthority({ trustDomain: 'partner.example' });
});

const read = (elements: readonly object[]) => {
  const text = JSON.stringify({ trustDomain: 'mesh.example', caCertificates: elements });
  const { resources, problems } = validateDocuments([{ name: 'enmesh/mesh.yaml', text, meshConfig: true }]);
  return { mesh: resources?.mesh, problems: problems.map((problem) => `${problem.level} ${formatProblem(problem)}`) };
};

describe('caCertificates of MeshConfig', () => {
  it('are bundles by trust domain, each root once; without trustDomains they are of the mesh itself', () => {
    const { mesh, problems } = read([
      { pem: own.rootPem },
      { pem: `${partner.rootPem}${partner.rootPem}`, trustDomains: ['partner.example', 'second.example'] },
      { pem: own.rootPem, trustDomains: ['second.example'] },
    ]);
    expect(problems).toEqual([]);
    expect(mesh?.caBundles).toEqual([
      { trustDomain: 'mesh.example', roots: [own.rootPem] },
      { trustDomain: 'partner.example', roots: [partner.rootPem] },
      { trustDomain: 'second.example', roots: [partner.rootPem, own.rootPem] },
    ]);
    expect(mesh?.caTrustDomains).toEqual(['partner.example', 'second.example', 'second.example']);
  });

  it.each(['not PEM', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', '-----BEGIN CERTIFICATE-----\nAAAA\n'])(
    'are refused when the text holds no certificate: %j',
    (pem) => {
      const { problems } = read([{ pem }]);
      expect(problems[0]).toContain('caCertificates[0].pem: must be certificates in PEM');
      expect(problems[0]).not.toContain('AAAA');
    },
  );

  it('name endpoints of bundles, each URL once with all its domains; without trustDomains they are of the mesh itself', () => {
    const { mesh, problems } = read([
      { spiffeBundleUrl: 'https://partner.example/bundle', trustDomains: ['partner.example'] },
      { spiffeBundleUrl: 'https://partner.example/bundle', trustDomains: ['partner.example', 'second.example'] },
      { spiffeBundleUrl: 'https://own.example/bundle' },
    ]);
    expect(problems).toEqual([]);
    expect(mesh?.caBundleUrls).toEqual([
      { url: 'https://partner.example/bundle', trustDomains: ['partner.example', 'second.example'] },
      { url: 'https://own.example/bundle', trustDomains: ['mesh.example'] },
    ]);
    expect(mesh?.caBundles).toEqual([]);
    expect(new Set(mesh?.caTrustDomains)).toEqual(new Set(['partner.example', 'second.example']));
  });

  it.each([
    ['http://partner.example/', 'must be the URL of a SPIFFE bundle endpoint, and is not https'],
    ['partner.example/bundle', 'and is no URL'],
    ['https://me:hunter2@partner.example/', 'and has a user'],
    ['https://169.254.169.254/', 'and is a link-local or metadata address'],
  ])('are refused with the URL %s', (spiffeBundleUrl, words) => {
    const { mesh, problems } = read([{ spiffeBundleUrl, trustDomains: ['partner.example'] }]);
    expect(mesh).toBeUndefined();
    expect(problems[0]).toContain(`caCertificates[0].spiffeBundleUrl: `);
    expect(problems[0]).toContain(words);
    expect(problems[0]).not.toContain('hunter2');
  });

  it('are refused with roots of both kinds in one element, as Istio has one of them', () => {
    expect(read([{ pem: own.rootPem, spiffeBundleUrl: 'https://a.example/' }]).problems[0]).toContain(
      'caCertificates[0].spiffeBundleUrl: pem and spiffeBundleUrl are both given',
    );
  });

  it('are warned of where signers are named', () => {
    expect(read([{ pem: own.rootPem, certSigners: ['a'] }]).problems).toEqual([
      expect.stringContaining('warning enmesh/mesh.yaml:1:'),
    ]);
  });
});
