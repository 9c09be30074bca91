import { describe, expect, it } from 'vitest';
import { isIstioAlpn, selectAlpn } from './alpn.js';

describe('selectAlpn', () => {
  it.each<[readonly string[], string | undefined]>([
    [['istio-http/1.1', 'istio', 'http/1.1'], 'http/1.1'],
    [['istio-peer-exchange', 'istio'], 'istio'],
    [['istio-h2', 'istio', 'h2'], 'istio'],
    [['istio-http/1.1'], 'istio-http/1.1'],
    [['http/1.0'], 'http/1.0'],
    [['h2', 'http/1.1'], 'http/1.1'],
    [['h2'], undefined],
    [['istio-h2', 'h2'], undefined],
    [['HTTP/1.1'], undefined],
    [[], undefined],
  ])('answers %j with %s', (offered, answer) => expect(selectAlpn(offered)).toBe(answer));
});

describe('isIstioAlpn', () => {
  it.each<[readonly string[], boolean]>([
    [['h2', 'istio-peer-exchange'], true],
    [['istio-http/1.0'], true],
    [['ISTIO'], false],
    [['http/1.1', 'h2'], false],
    [[], false],
  ])('is %j -> %s', (offered, is) => expect(isIstioAlpn(offered)).toBe(is));
});
