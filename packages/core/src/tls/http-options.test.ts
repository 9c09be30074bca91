import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { httpOptions } from './http-options.js';

describe('httpOptions', () => {
  it('lets the head of a request take less than a minute, with the interval of looking', () => {
    const { headersTimeout = 0, connectionsCheckingInterval = 0 } = httpOptions();
    expect(headersTimeout + connectionsCheckingInterval).toBeLessThan(60_000);
    expect(headersTimeout).toBeGreaterThan(0);
  });

  it('keeps what was said, and a head within the time of its request', () => {
    expect(httpOptions({ headersTimeout: 90_000, connectionsCheckingInterval: 1_000 })).toEqual({
      headersTimeout: 90_000,
      connectionsCheckingInterval: 1_000,
    });
    const short = httpOptions({ requestTimeout: 10_000 });
    expect(short.headersTimeout).toBe(10_000);
    expect(() => createServer(short)).not.toThrow();
    expect(httpOptions({ requestTimeout: 0 }).headersTimeout).toBe(50_000);
  });

  it('refuses what belongs to the mesh', () => {
    expect(() => httpOptions({ insecureHTTPParser: true })).toThrow(TypeError);
  });
});
