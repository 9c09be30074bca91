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

  it('are warned of where roots would come from a URL', () => {
    const { mesh, problems } = read([{ spiffeBundleUrl: 'https://partner.example/bundle', trustDomains: ['partner.example'] }]);
    expect(problems).toEqual([
      expect.stringContaining('caCertificates[0].spiffeBundleUrl: this field of caCertificates is not obeyed'),
    ]);
    expect(mesh?.caBundles).toEqual([]);
  });
});
