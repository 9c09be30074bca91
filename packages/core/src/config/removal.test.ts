import { describe, expect, test } from 'vitest';
import { removesAnything } from './removal.js';
import { validateDocuments, type MeshResources } from './validate.js';

const policy = (spec: string, name = 'guard'): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec:\n${spec}\n`;
const rules = (...paths: string[]): string =>
  `  action: DENY\n  rules:\n${paths.map((path) => `  - to:\n    - operation:\n        paths: ["${path}"]\n`).join('')}`;

function resources(text: string, mesh?: string): MeshResources {
  const files = [
    { name: 'a.yaml', text },
    ...(mesh === undefined ? [] : [{ name: 'enmesh/mesh.yaml', text: mesh, meshConfig: true }]),
  ];
  const result = validateDocuments(files);
  expect(result.problems).toEqual([]);
  return result.resources!;
}

const jwt = (count: number): string =>
  `apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: users, namespace: shop}\nspec:\n  jwtRules:\n${Array.from(
    { length: count },
    (_, at) => `  - issuer: https://idp${at}.example\n    jwksUri: https://idp${at}.example/keys\n`,
  ).join('')}`;

describe('a set removes something when', () => {
  test.each([
    ['a document is gone', policy(rules('/a')) + '---\n' + policy(rules('/b'), 'other'), policy(rules('/a'))],
    ['a document has another name', policy(rules('/a')), policy(rules('/a'), 'other')],
    ['a rule is gone', policy(rules('/a', '/b')), policy(rules('/a'))],
    ['a jwtRule is gone', jwt(2), jwt(1)],
    ['a path is gone', policy('  action: DENY\n  rules: [{to: [{operation: {paths: [/a, /b]}}]}]'), policy(rules('/a'))],
    [
      'a condition is gone',
      policy('  rules: [{to: [{operation: {methods: [GET]}}], when: [{key: source.ip, values: [10.0.0.1]}]}]'),
      policy('  rules: [{to: [{operation: {methods: [GET]}}]}]'),
    ],
    ['the action is gone', policy(rules('/a')), policy('  rules: [{to: [{operation: {paths: [/a]}}]}]')],
    ['a text lost its end', policy(rules('/admin/*')), policy(rules('/admin'))],
  ])('%s', async (_, before, after) => {
    expect(await removesAnything(resources(before), resources(after))).toBe(true);
    expect(await removesAnything(resources(after), resources(after))).toBe(false);
  });

  test('a setting of the mesh is another', async () => {
    const text = policy(rules('/a'));
    expect(await removesAnything(resources(text, 'trustDomain: other.example'), resources(text))).toBe(true);
  });
});

test('more documents, more rules and other values remove nothing', async () => {
  const before = resources(policy(rules('/a')));
  expect(await removesAnything(before, resources(policy(rules('/a', '/b')) + '---\n' + policy(rules('/c'), 'other')))).toBe(
    false,
  );
  expect(await removesAnything(before, resources(policy(rules('/x'))))).toBe(false);
});

test('every prefix of a file that is valid in itself removes something', async () => {
  const text = `${policy(rules('/admin', '/private'))}---\n${policy('  rules: [{from: [{source: {namespaces: [shop]}}]}]', 'open')}`;
  const whole = resources(text);
  const valid: number[] = [];
  for (let length = 0; length < text.trimEnd().length; length++) {
    const part = validateDocuments([{ name: 'a.yaml', text: text.slice(0, length) }]).resources;
    if (part === undefined) continue;
    valid.push(length);
    expect(await removesAnything(whole, part), text.slice(0, length)).toBe(true);
  }
  expect(valid.length).toBeGreaterThan(2);
});
