import { existsSync, readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../packages/core/src/config/problem.js';
import { validateDocuments, type ConfigFile, type ValidationResult } from '../../packages/core/src/config/validate.js';

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const corpora = process.env['ENMESH_CORPORA'] ?? join(repository, '../shared/corpora');
const oracle = process.env['ENMESH_ORACLE'] ?? join(repository, '../shared/oracle');
const config = join(corpora, 'istio/pkg/config');
const hasOracle = existsSync(join(oracle, 'invalid.ndjson'));
const hasCorpora = existsSync(config);
if (!hasOracle) console.log('skip: the oracle is not there');
if (!hasCorpora) console.log('skip: the corpora are not there');

const stricter = {
  duplicateKey: 'a key given twice is an error here; Kubernetes silently keeps the last',
  unusableKeys: 'an inline key set without a usable public key refuses every token; refused at load instead',
  outputHeader: 'a header name that no request can carry; Istio admits it and then breaks every request',
  template: 'a template that does not begin with one slash; Istio admits it and Envoy ends while loading it',
  filterMetadata: 'there is no metadata of Envoy filters inside a process: the condition would never match',
  presence: 'presence: REQUIRED is not enforced by this version; passing it over would not demand a token',
};
const laxer = {
  emptyDocument: 'an empty first document is skipped, as kubectl does; the measured schema check took it for a resource',
};

/** A document that Istio admits and enmesh refuses, found by a text in it; the first reason that fits counts. */
const refusedHere: readonly (readonly [text: string, reason: string])[] = [
  ['        paths: [/a]\n        paths: [/b]', stricter.duplicateKey],
  ['{"keys":[]}', stricter.unusableKeys],
  ['"x":"AA"', stricter.unusableKeys],
  ['outputPayloadToHeader: a b', stricter.outputHeader],
  ["        - '{*}'", stricter.template],
  ['- //{*}', stricter.template],
  ['experimental.envoy.filters', stricter.filterMetadata],
  ['presence: REQUIRED', stricter.presence],
];

/** A document that Istio refuses and enmesh admits. */
const admittedHere: readonly (readonly [text: string, reason: string])[] = [['# c\n---\n', laxer.emptyDocument]];

const validate = (...files: ConfigFile[]): ValidationResult => validateDocuments(files);
const check = (text: string): ValidationResult => validate({ name: 'document.yaml', text: text.replace(/^_err:.*$/m, '') });
const problemsOf = (result: ValidationResult): string => result.problems.map((problem) => formatProblem(problem)).join('\n');
const linesOf = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
const readOracle = <T>(name: string): T[] => linesOf<T>(readFileSync(join(oracle, name), 'utf8'));

/** The measured documents use a symmetric key only because a short key was wanted; with a usable one, what is measured decides. */
const symmetricKey = '{"kty":"oct","k":"AAAA"}';
const publicKey = JSON.stringify(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }));
const readDocuments = (name: string): Measured[] =>
  readOracle<Measured>(name).map((line) => ({ ...line, document: line.document.replace(symmetricKey, publicKey) }));
const readWorlds = (name: string): World[] =>
  linesOf<World>(gunzipSync(readFileSync(join(oracle, name))).toString()).filter((line) => line.world !== undefined);

interface Measured {
  readonly document: string;
  readonly error?: string;
}

interface World {
  readonly world?: string;
  readonly mesh: unknown;
  readonly documents: string;
}

/** `spec.a[0]["8080"].b` and `spec.a[0].8080.b` as their steps. */
function stepsOf(path: string): string[] {
  return path.split(/[.[\]"]+/).filter((step) => step !== '');
}

/** Compares verdicts with a list of documents; every disagreement needs a listed reason, and every reason that is offered must be used. */
function compare(
  documents: readonly string[],
  admitted: boolean,
  excuses: readonly (readonly [string, string])[],
  label: string,
): void {
  const unexplained: string[] = [];
  const used = new Set<string>();
  let agree = 0;
  for (const document of documents) {
    const result = check(document);
    if ((result.resources !== undefined) === admitted) {
      agree++;
      continue;
    }
    const excuse = excuses.find(([text]) => document.includes(text));
    if (excuse === undefined) unexplained.push(`${document}\n=> ${problemsOf(result)}`);
    else used.add(excuse[0]);
  }
  console.log(`${label}: ${agree} agree, ${documents.length - agree - unexplained.length} excused, of ${documents.length}`);
  expect(unexplained).toEqual([]);
  const relevant = excuses.filter(([text]) => documents.some((document) => document.includes(text)));
  expect(relevant.map(([text]) => text).filter((text) => !used.has(text))).toEqual([]);
}

describe.skipIf(!hasOracle)("Istio's verdicts on documents", () => {
  it('refuses what the CRD schema or Istio’s validation refuses', () => {
    compare(
      readDocuments('invalid.ndjson').map((line) => line.document),
      false,
      admittedHere,
      'invalid',
    );
  });

  it('points at the field that the schema points at', () => {
    const measured = readDocuments('invalid.ndjson').flatMap((line) => {
      const path = /[A-Z]\w+\/p\/pay: \[?(spec[\w.[\]-]*)/.exec(line.error ?? '')?.[1]?.replace(/\.$/, '');
      return path === undefined ? [] : [{ document: line.document, path: stepsOf(path) }];
    });
    const elsewhere = measured.filter(({ document, path }) => {
      const ours = check(document).problems.map((problem) => stepsOf(problem.path));
      return !ours.some((steps) => steps.every((step, index) => path[index] === undefined || path[index] === step));
    });
    console.log(`paths: ${measured.length - elsewhere.length} of ${measured.length}`);
    expect(measured.length).toBeGreaterThan(50);
    expect(elsewhere).toEqual([]);
  });

  it('admits what both admit', () => {
    compare(
      readDocuments('valid.ndjson').map((line) => line.document),
      true,
      refusedHere,
      'valid',
    );
  });

  it('admits every configuration that the measured proxies ran with', () => {
    const worlds = [...readWorlds('inbound.ndjson.gz'), ...readWorlds('outbound.ndjson.gz')];
    const refused = worlds.flatMap((world) => {
      const mesh = { name: 'enmesh/mesh.yaml', text: JSON.stringify(world.mesh), meshConfig: true };
      const result = validate(mesh, { name: `${world.world}.yaml`, text: world.documents });
      return result.resources === undefined ? [`${world.world}: ${problemsOf(result)}`] : [];
    });
    console.log(`worlds: ${worlds.length - refused.length} of ${worlds.length}`);
    expect(worlds.length).toBeGreaterThan(100);
    expect(refused).toEqual([]);
  });
});

/** The corpus's documents stand in kubectl's default namespace and name the error in a field of their own. */
function corpusDocuments(file: string): string[] {
  return readFileSync(join(config, 'validation/testdata/crds', file), 'utf8')
    .split(/^---$/m)
    .filter((text) => text.includes('kind:'))
    .map((text) => text.replace(/^metadata:$/m, 'metadata:\n  namespace: default'));
}

describe.skipIf(!hasCorpora)("Istio's own validation data", () => {
  for (const kind of ['authz', 'peerauth', 'reqauth', 'destinationrule']) {
    it(`refuses every document of ${kind}-invalid.yaml`, () => {
      compare(corpusDocuments(`${kind}-invalid.yaml`), false, [], `${kind}-invalid`);
    });

    it(`admits every document of ${kind}-valid.yaml`, () => {
      compare(corpusDocuments(`${kind}-valid.yaml`), true, refusedHere, `${kind}-valid`);
    });
  }

  it('agrees on every case of TestValidateCondition', () => {
    const { cases } = readCases<{ key: string; values: string[]; error: boolean }>('condition-validation-cases.json');
    const refused = (key: string): boolean => key.startsWith('experimental.envoy.filters.');
    const disagreements = cases.filter((one) => {
      const { resources } = check(policyWith({ when: [{ key: one.key, values: one.values }] }));
      return (resources === undefined) !== (one.error || refused(one.key));
    });
    console.log(
      `conditions: ${cases.length} cases, ${cases.filter((one) => !one.error && refused(one.key)).length} excused (${stricter.filterMetadata})`,
    );
    expect(disagreements).toEqual([]);
    expect(cases.some((one) => refused(one.key) && !one.error)).toBe(true);
  });

  it('agrees on every case of TestCheckValidPathTemplate', () => {
    const { cases } = readCases<{ name: string; values: string[]; error: boolean }>('path-template-validation-cases.json');
    const disagreements = cases.filter((one) => {
      const { resources } = check(policyWith({ to: [{ operation: { paths: one.values } }] }));
      return (resources === undefined) !== one.error;
    });
    console.log(`path templates: ${cases.length} cases`);
    expect(disagreements).toEqual([]);
  });
});

function readCases<T>(name: string): { readonly cases: readonly T[] } {
  return JSON.parse(readFileSync(join(config, 'security', name), 'utf8')) as { cases: T[] };
}

function policyWith(rule: object): string {
  return JSON.stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { rules: [rule] },
  });
}
