import { join } from 'node:path';
import { EnmeshError } from '../errors.js';
import type { FilesIdentitySettings } from '../identity/choice.js';
import { parseTrustDomain } from '../identity/trust-domain.js';

/** The names under which a platform writes chain, key and roots into one directory. */
export interface FilesLayout {
  /** Who writes so, for people. */
  readonly writer: string;
  readonly certificate: string;
  readonly privateKey: string;
  readonly roots: string;
}

/** Every layout that is known, in the order in which a directory is searched for them. */
const filesLayouts: readonly FilesLayout[] = [
  {
    writer: "Istio's agent (OUTPUT_CERTS) and its mounted certificates",
    certificate: 'cert-chain.pem',
    privateKey: 'key.pem',
    roots: 'root-cert.pem',
  },
  {
    writer: 'GKE mesh certificates',
    certificate: 'certificates.pem',
    privateKey: 'private_key.pem',
    roots: 'ca_certificates.pem',
  },
  { writer: 'cert-manager (Secret, csi-driver-spiffe)', certificate: 'tls.crt', privateKey: 'tls.key', roots: 'ca.crt' },
];

/** The files of one identity by their full paths; `federated` is in the order of the settings. */
export interface IdentityPaths {
  readonly certificate: string;
  readonly privateKey: string;
  readonly roots: string;
  readonly federated: readonly { readonly trustDomain: string; readonly path: string }[];
}

/** Where files are looked for: each file by name, or a directory whose layout is found anew at every look. */
export interface FilesPlace {
  /** For people: the directory, or the certificate's file. */
  readonly label: string;
  /** What is looked for, for people. */
  readonly wanted: string;
  /** The paths to read, given the names that `directory` holds now; undefined when no layout begins there. */
  paths(names: readonly string[]): IdentityPaths | undefined;
  readonly directory: string | undefined;
}

/**
 * The place that settings name. Throws `ENMESH_ISSUANCE_FILES_SETTINGS` for settings that can never work (neither or both of directory and files, a
 * certificate without key or roots), and `ENMESH_IDENTITY_TRUST_DOMAIN_INVALID` for a federated name that is none.
 */
export function readFilesSettings(settings: FilesIdentitySettings): FilesPlace {
  const { directory, certificate, privateKey, roots } = settings;
  const federated = Object.entries(settings.federated ?? {}).map(([name, path]) => ({
    trustDomain: parseTrustDomain(name),
    path,
  }));
  if (directory !== undefined) {
    if (certificate !== undefined || privateKey !== undefined)
      throw wrong('`directory` and single files are both given; name the directory, or certificate, privateKey and roots');
    return directoryPlace(directory, roots, federated);
  }
  if (certificate === undefined || privateKey === undefined || roots === undefined) {
    const missing = Object.entries({ certificate, privateKey, roots }).filter(([, path]) => path === undefined);
    throw wrong(
      missing.length === 3
        ? 'neither a directory nor files are named'
        : `${missing.map(([name]) => `\`${name}\``).join(' and ')} must be named too, or a directory instead of all`,
    );
  }
  const paths = { certificate, privateKey, roots, federated };
  return { label: certificate, wanted: `${certificate}, ${privateKey}, ${roots}`, directory: undefined, paths: () => paths };
}

function directoryPlace(directory: string, roots: string | undefined, federated: IdentityPaths['federated']): FilesPlace {
  const namesOf = (layout: FilesLayout): readonly string[] =>
    roots === undefined ? [layout.certificate, layout.privateKey, layout.roots] : [layout.certificate, layout.privateKey];
  return {
    label: directory,
    wanted: `${filesLayouts.map((layout) => namesOf(layout).join(', ')).join('; or ')} in ${directory}`,
    directory,
    paths(names) {
      const layout = findLayout(names, roots === undefined);
      if (layout === undefined) return undefined;
      return {
        certificate: join(directory, layout.certificate),
        privateKey: join(directory, layout.privateKey),
        roots: roots ?? join(directory, layout.roots),
        federated,
      };
    },
  };
}

/**
 * The layout that a directory with these names has: the first that is whole, else the first whose chain or key is there. A root alone makes none:
 * `ca.crt` stands in many directories. `needsRoots` is false where the roots are elsewhere.
 */
export function findLayout(names: readonly string[], needsRoots = true): FilesLayout | undefined {
  const has = (name: string): boolean => names.includes(name);
  return (
    filesLayouts.find((one) => has(one.certificate) && has(one.privateKey) && (!needsRoots || has(one.roots))) ??
    filesLayouts.find((one) => has(one.certificate) || has(one.privateKey))
  );
}

function wrong(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_FILES_SETTINGS', `identity files: ${reason}`);
}
