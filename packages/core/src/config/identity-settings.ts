import { resolve } from 'node:path';
import type { FilesIdentitySettings, IdentityChoice, IstioIdentitySettings, SpiffeIdentitySettings } from '../identity/choice.js';
import { describeNode } from './node.js';
import { placeAt, type Place } from './place.js';
import { quote } from './problem.js';
import { flag, integer, invalidAt, mapOf, oneOf, record, refined, text, type Shape } from './shape.js';
import { spellingHint } from './spelling.js';
import { isTrustDomainName } from './validate/ca-certificates.js';

/** The development authority as the source of identity; `directory` is `.enmesh` when absent. */
export interface DevIdentitySettings {
  readonly directory?: string;
  readonly allowAnywhere?: boolean;
}

/** Where the identity comes from as it is written: one source, or `auto`. Paths are relative to where it stands. */
export type IdentitySettings =
  | { readonly auto: true }
  | { readonly dev: DevIdentitySettings }
  | { readonly files: FilesIdentitySettings }
  | { readonly istio: IstioIdentitySettings }
  | { readonly spiffe: SpiffeIdentitySettings };

/** Every source by its word. */
export const identitySources = ['auto', 'dev', 'files', 'istio', 'spiffe'] as const;

/** A word of {@link identitySources}. */
export type IdentitySource = (typeof identitySources)[number];

/** Whether a text is one of {@link identitySources}. */
export function isIdentitySource(word: string): word is IdentitySource {
  return (identitySources as readonly string[]).includes(word);
}

/** A word as settings that leave everything to the defaults and the environment. */
export function settingsOf(source: IdentitySource): IdentitySettings {
  return source === 'auto' ? { auto: true } : ({ [source]: {} } as unknown as IdentitySettings);
}

const path = text({ min: 1, max: 4096 });

const trustDomainKey = (key: string, place: Place): void => {
  if (!isTrustDomainName(key))
    invalidAt(place, `${quote(key)} is no trust domain`, 'lower-case letters, digits, ".", "-" and "_"');
};

const files = refined(
  record<FilesIdentitySettings>({
    directory: path,
    certificate: path,
    privateKey: path,
    roots: path,
    federated: mapOf(path, { max: 100 }, trustDomainKey),
  }),
  (value, place) => {
    const single = (['certificate', 'privateKey'] as const).find((name) => value[name] !== undefined);
    if (value.directory !== undefined && single !== undefined)
      return void invalidAt(placeAt(place, single), 'directory and single files are both given', 'name one or the other');
    if (single === undefined) return;
    for (const name of ['certificate', 'privateKey', 'roots'] as const)
      if (value[name] === undefined) invalidAt(place, `lacks ${quote(name)}`, 'certificate, privateKey and roots go together');
  },
);

const address = refined(text({ min: 1, max: 300 }), (value, place) => {
  const port = Number(/^[^\s/:@]+:(\d{1,5})$|^\[[0-9a-fA-F:.]+\]:(\d{1,5})$/.exec(value)?.slice(1).find(Boolean));
  if (!(port >= 1 && port <= 65_535))
    invalidAt(place, `${quote(value)} is no host:port`, 'such as istiod.istio-system.svc:15012');
});

const headerName = (key: string, place: Place): void => {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(key) || key.toLowerCase().startsWith('grpc-') || key.toLowerCase() === 'authorization')
    invalidAt(place, `${quote(key)} is no name of gRPC metadata that can be set`);
};

const istio = record<IstioIdentitySettings>({
  address,
  serverName: text({ min: 1, max: 253 }),
  rootCert: path,
  tokenFile: path,
  ttlSeconds: integer(1, 366 * 86_400),
  clusterId: text({ min: 1, max: 253 }),
  keyType: oneOf('rsa-2048', 'rsa-3072', 'rsa-4096', 'ecdsa-p256', 'ecdsa-p384'),
  provCert: path,
  headers: mapOf(text({ max: 4096 }), { max: 20 }, headerName),
});

const socket = refined(text({ min: 1, max: 300 }), (value, place) => {
  if (!/^unix:\/[^?#]*[^/?#]$|^tcp:\/\/[^/?#@]+:\d{1,5}$/.test(value))
    invalidAt(
      place,
      `${quote(value)} is no address of a Workload API`,
      'such as unix:///run/spire/sockets/agent.sock, or tcp://IP:port',
    );
});

const one = record<{
  dev?: DevIdentitySettings;
  files?: FilesIdentitySettings;
  istio?: IstioIdentitySettings;
  spiffe?: SpiffeIdentitySettings;
}>({
  dev: record<DevIdentitySettings>({ directory: path, allowAnywhere: flag }),
  files,
  istio,
  spiffe: record<SpiffeIdentitySettings>({ socket, hint: text({ min: 1, max: 1024 }) }),
});

/** The field `identity` of enmesh.yaml: a word of {@link identitySources}, or a map with the settings of one source. */
export const identityShape: Shape<IdentitySettings> = (place) => {
  const { node } = place;
  if (node.kind === 'map') {
    const settings = one(place);
    const [first, second] = node.entries;
    if (first === undefined) return invalidAt(place, 'names no source', `known here: ${identitySources.slice(1).join(', ')}`);
    if (second !== undefined) return invalidAt(placeAt(place, second.key), 'a second source of identity', 'a workload has one');
    return settings as IdentitySettings | undefined;
  }
  if (node.kind !== 'scalar' || typeof node.value !== 'string')
    return invalidAt(place, `must be ${identitySources.join(', ')} or a map, not ${describeNode(node)}`);
  if (isIdentitySource(node.value)) return settingsOf(node.value);
  return invalidAt(place, `${quote(node.value)} is no source of identity`, spellingHint(node.value, identitySources));
};

/** The settings with every path made absolute, from `base`; what a workload then gets its identity by. */
export function placeIdentity(settings: IdentitySettings, base: string): IdentityChoice {
  const from = <K extends string>(fields: { readonly [Name in K]?: string | undefined }): Partial<Record<K, string>> => {
    const named = Object.entries<string | undefined>(fields).filter((field): field is [K, string] => field[1] !== undefined);
    return Object.fromEntries(named.map(([name, value]) => [name, resolve(base, value)])) as Partial<Record<K, string>>;
  };
  if ('auto' in settings || 'spiffe' in settings) return settings;
  if ('dev' in settings) {
    const { directory = '.enmesh', allowAnywhere = false } = settings.dev;
    return { dev: { directory: resolve(base, directory), allowAnywhere } };
  }
  if ('istio' in settings) {
    const { rootCert, tokenFile, provCert, ...rest } = settings.istio;
    const root = rootCert === undefined ? {} : { rootCert: rootCert === 'SYSTEM' ? rootCert : resolve(base, rootCert) };
    return { istio: { ...rest, ...root, ...from({ tokenFile, provCert }) } };
  }
  const { federated, ...rest } = settings.files;
  return {
    files: { ...from(rest), ...(federated === undefined ? {} : { federated: from(federated) as Record<string, string> }) },
  };
}
