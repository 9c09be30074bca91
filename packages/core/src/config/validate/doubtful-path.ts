import type { PathNormalization } from '../../request/normalize.js';
import { warnAt, type Place } from '../place.js';

const modes: readonly PathNormalization[] = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'];

/** The literal text of a value, and its segments that are whole: a wildcard leaves the one beside it open. */
function literalOf(value: string): { text: string; whole: readonly string[] } {
  const isTemplate = /\{\*{1,2}\}/.test(value);
  const isSuffix = !isTemplate && value.startsWith('*');
  const isPrefix = !isTemplate && !isSuffix && value.endsWith('*');
  const text = isSuffix ? value.slice(1) : isPrefix ? value.slice(0, -1) : value.replace(/\{\*{1,2}\}/g, 'x');
  const segments = text.split('/');
  return { text, whole: segments.slice(isSuffix ? 1 : 0, isPrefix ? -1 : undefined) };
}

/**
 * Why no request can ever have a path that this value of `paths` or `notPaths` matches, in a mode of MeshConfig's `pathNormalization`
 * (istio-semantics 4.1); undefined when one can.
 */
function findPathDoubt(value: string, mode: PathNormalization): string | undefined {
  const { text, whole } = literalOf(value);
  if (/[?#]/.test(text)) return 'never matches: policies see a path without query and fragment';
  if (/[^\x21-\x7e]/.test(text)) return 'never matches: a request line holds no such character, it is percent-encoded there';
  if (mode === 'NONE') return undefined;
  if (whole.some((segment) => /^\.{1,2}(;.*)?$/.test(segment)))
    return `never matches: dot segments are resolved (pathNormalization ${mode})`;
  if (/%(2d|2e|3[0-9]|4[1-9a-f]|5[0-9a]|5f|6[1-9a-f]|7[0-9a]|7e)/i.test(text))
    return `never matches: encoded letters, digits, "-", ".", "_" and "~" are decoded (pathNormalization ${mode})`;
  if (/[\\"<>^`|]/.test(text))
    return `never matches: this character is rewritten before policies see it (pathNormalization ${mode})`;
  if (mode === 'BASE') return undefined;
  if (text.includes('//')) return `never matches: slashes are merged (pathNormalization ${mode})`;
  if (mode === 'DECODE_AND_MERGE_SLASHES' && /%(2f|5c)/i.test(text))
    return `never matches: encoded slashes are decoded (pathNormalization ${mode})`;
  return undefined;
}

/** Warns of a value that no path can match; where that depends on the mesh's mode, once the mesh is known. */
export function warnDoubtfulPath(value: string, place: Place): void {
  const always = findPathDoubt(value, 'NONE');
  if (always !== undefined) return warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', always);
  if (!modes.some((mode) => findPathDoubt(value, mode) !== undefined)) return;
  place.report.whenMeshIsKnown(({ pathNormalization }) => {
    const doubt = findPathDoubt(value, pathNormalization);
    if (doubt !== undefined) warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', doubt);
  });
}
