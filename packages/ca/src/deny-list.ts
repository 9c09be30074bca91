import { join } from 'node:path';
import { EnmeshError, fileProblem, noticeEvents, parseSpiffeId, readSmallFileIfThere } from '@enmesh/core/issuance';

/** The deny list's file, in the authority's directory. */
export const denyFile = 'deny.list';

/** Who gets no certificates any more. */
export interface DenyList {
  /** Reads the file if it has changed. After that the two questions are answered from memory. Never rejects. */
  refresh(): Promise<void>;
  hasIdentity(uri: string): boolean;
  /** `serial` in lower-case hexadecimal without leading zeros. */
  hasSerial(serial: string): boolean;
}

interface Entries {
  readonly identities: ReadonlySet<string>;
  readonly serials: ReadonlySet<string>;
}

const maxBytes = 1 << 22;

/**
 * Opens the deny list of an authority; without a file it is empty. Once opened, nothing that happens to the file takes names off in silence: an
 * unreadable or vanished file leaves the list as it was, and one with a line that cannot be read adds what can be and removes nothing.
 * Rejects with `ENMESH_CA_FILES` when the file cannot be read at the beginning.
 */
export async function openDenyList(directory: string): Promise<DenyList> {
  const path = join(directory, denyFile);
  let entries: Entries = { identities: new Set(), serials: new Set() };
  let mark = '';
  let told = '';
  const tell = (problem: string): void => {
    if (told === problem) return;
    told = problem;
    if (problem === '' || !noticeEvents.hasSubscribers) return;
    noticeEvents.publish({
      kind: 'authority-changed',
      level: 'error',
      code: 'ENMESH_CA_FILES',
      message: `${path}: ${problem}; what was denied stays denied`,
    });
  };
  const read = async (): Promise<string | undefined> => {
    const file = await readSmallFileIfThere(path, maxBytes);
    if (file === undefined) return mark === '' ? undefined : 'it is gone';
    if (file.mark === mark) return told === '' ? undefined : told;
    const { found, problem } = parseDenyList(file.text);
    const kept = problem === undefined ? undefined : entries;
    entries = {
      identities: new Set([...(kept?.identities ?? []), ...found.identities]),
      serials: new Set([...(kept?.serials ?? []), ...found.serials]),
    };
    mark = file.mark;
    return problem;
  };
  const first = await read().catch(fileProblem);
  if (first !== undefined) throw new EnmeshError('ENMESH_CA_FILES', `${path}: ${first}`, { details: { path } });
  return {
    refresh: async () => tell((await read().catch(fileProblem)) ?? ''),
    hasIdentity: (uri) => entries.identities.has(uri),
    hasSerial: (serial) => entries.serials.has(serial),
  };
}

/** Reads lines `identity spiffe://...` and `serial HEX`; `#` begins a remark. */
export function parseDenyList(text: string): { readonly found: Entries; readonly problem: string | undefined } {
  const identities = new Set<string>();
  const serials = new Set<string>();
  let problem: string | undefined;
  for (const [at, line] of text.split('\n').entries()) {
    const [kind, value = '', more] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (kind === '') continue;
    // openssl prints serial numbers in upper case, with colons and leading zeros.
    const digits = value.replaceAll(':', '').toLowerCase();
    const serial = (digits.length % 2 === 0 ? digits : `0${digits}`).replace(/^(00)+(?=.)/, '');
    if (more === undefined && kind === 'identity' && isSpiffeId(value)) identities.add(value);
    else if (more === undefined && kind === 'serial' && /^[0-9a-f]{2,42}$/.test(serial)) serials.add(serial);
    else problem ??= `line ${at + 1} is neither "identity spiffe://..." nor "serial HEX"`;
  }
  return { found: { identities, serials }, problem };
}

function isSpiffeId(text: string): boolean {
  try {
    return parseSpiffeId(text).path !== '';
  } catch {
    return false;
  }
}
