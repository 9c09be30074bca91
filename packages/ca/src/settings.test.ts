import { describe, expect, it } from 'vitest';
import { parseCaSettings } from './settings.js';

const parse = (value: unknown) => parseCaSettings(value, '/srv/ca');
const invalid = (text: RegExp): unknown =>
  expect.objectContaining({ code: 'ENMESH_CA_SETTINGS', message: expect.stringMatching(text) as string });
const issuer = { issuer: 'https://idp', audiences: ['ca'], kubernetesSubjects: true };

describe('the settings of an authority', () => {
  it('are safe where nothing is said', () => {
    expect(parse({ trustDomain: 'cluster.local' })).toEqual({
      directory: '/srv/ca',
      trustDomain: 'cluster.local',
      listen: { host: '127.0.0.1', port: 15_012 },
      names: ['istiod.istio-system.svc', 'localhost'],
      ttlSeconds: 86_400,
      maxTtlSeconds: 86_400,
      joinTokens: true,
      renewExpiredSeconds: 0,
      jwt: [],
      tokenReview: undefined,
      limits: {
        concurrent: 64,
        connections: 1000,
        connectionsPerAddress: 100,
        perCallerPerMinute: 300,
        perAddressPerMinute: 600,
      },
    });
  });

  it('take paths relative to the directory and durations in words', () => {
    const settings = parse({
      trustDomain: 'td.example',
      listen: '[::]:443',
      ttl: '90s',
      maxTtl: '7d',
      jwt: [
        {
          issuer: 'https://idp',
          audiences: ['ca'],
          jwksFile: 'keys.json',
          identities: [{ subject: 'a', namespace: 'n', serviceAccount: 's' }],
        },
      ],
      tokenReview: { url: 'https://10.0.0.1:6443', ca: 'k8s.pem', tokenFile: '/run/token', audiences: ['istio-ca'] },
    });
    expect(settings).toMatchObject({
      listen: { host: '::', port: 443 },
      ttlSeconds: 90,
      maxTtlSeconds: 604_800,
      jwt: [{ jwksFile: '/srv/ca/keys.json', identities: [{ subject: 'a', claims: {} }] }],
      tokenReview: { url: 'https://10.0.0.1:6443', ca: '/srv/ca/k8s.pem', tokenFile: '/run/token' },
    });
    expect(parse({ trustDomain: 'td', ttl: '48h' }).maxTtlSeconds).toBe(172_800);
  });

  it.each([
    [[], /must be an object/],
    [{}, /trustDomain: must be a text/],
    [{ trustDomain: 'A' }, /no trust domain/],
    [{ trustDomain: 'td', tll: '1h' }, /tll: there is no such setting/],
    [{ trustDomain: 'td', ttl: '2h', maxTtl: '1h' }, /longer than maxTtl/],
    [{ trustDomain: 'td', maxTtl: '91d' }, /90 days/],
    [{ trustDomain: 'td', ttl: '1.5h' }, /duration/],
    [{ trustDomain: 'td', ttl: 3600 }, /duration/],
    [{ trustDomain: 'td', listen: 'here' }, /host:port/],
    [{ trustDomain: 'td', listen: '127.0.0.1:70000' }, /host:port/],
    [{ trustDomain: 'td', names: [] }, /at least once/],
    [{ trustDomain: 'td', names: ['*.example'] }, /DNS name/],
    [{ trustDomain: 'td', names: ['10.0.0.1'] }, /DNS name/],
    [{ trustDomain: 'td', jwt: [{ issuer: 'https://idp', audiences: [], kubernetesSubjects: true }] }, /at least one audience/],
    [{ trustDomain: 'td', jwt: [{ issuer: 'https://idp', audiences: ['ca'] }] }, /proves nobody/],
    [{ trustDomain: 'td', jwt: [{ ...issuer, jwks: '{}', jwksUri: 'https://idp/keys' }] }, /more than one of/],
    [{ trustDomain: 'td', jwt: [issuer, issuer] }, /twice/],
    [
      { trustDomain: 'td', jwt: [{ ...issuer, identities: [{ subject: 'a', namespace: 'n', serviceAccount: 'a/b' }] }] },
      /no namespace and service account/,
    ],
    [
      {
        trustDomain: 'td',
        jwt: [{ ...issuer, identities: [1, 2].map((n) => ({ subject: 'a', namespace: 'n', serviceAccount: `s${n}` })) }],
      },
      /maps a subject twice/,
    ],
    [
      {
        trustDomain: 'td',
        jwt: [{ ...issuer, identities: [{ subject: 'a', claims: { env: 1 }, namespace: 'n', serviceAccount: 's' }] }],
      },
      /must be a text/,
    ],
    [{ trustDomain: 'td', tokenReview: { url: 'http://10.0.0.1', ca: 'a', tokenFile: 'b', audiences: ['c'] } }, /https:/],
    [{ trustDomain: 'td', limits: { concurrent: 0 } }, /whole number/],
    [{ trustDomain: 'td', limits: { perHour: 1 } }, /limits.perHour: there is no such setting/],
    [JSON.parse('{"trustDomain": "td", "__proto__": {"a": 1}}'), /no such setting/],
  ] as [unknown, RegExp][])('refuse %j', (value, text) => {
    expect(() => parse(value)).toThrow(invalid(text));
  });
});
