import { Lexer } from 'yaml';
import { createDepthGauge, marks, seemingDepthLimit } from './yaml-depth.js';

/** Why a text is not worth reading, and where that shows. `properties` are anchors, aliases and tags. */
export interface Excess {
  readonly kind: 'depth' | 'density' | 'size' | 'properties' | 'documents';
  readonly offset: number;
}

/**
 * Of how many words, signs, spaces and line ends a text of so many characters may be made. What people and tools write as blocks or JSON comes to 0.14 to 0.32
 * for each character; rules on one line come to 0.57, so the first 50 000 of them have room. `a,a,a` and blank lines have one for each, and would
 * take longer and more memory than any honest file.
 */
export function densityLimit(length: number): number {
  return 600_000 + Math.floor((length * 3) / 10);
}

/** Of so many words, signs, spaces and line ends may one document be made: a megabyte of policies, more than `kubectl apply` takes of one object. */
export const documentSizeLimit = 300_000;

/** As {@link documentSizeLimit}, for a `List`: eleven thousand policies, as kubectl prints them. */
export const listSizeLimit = 1_200_000;

/** So many documents may a file have; in 8 MiB that is a policy of 160 characters each. */
export const documentLimit = 50_000;

/** So many anchors, aliases and tags may a document have; a configuration has a handful, and an alias stands for one value at least. */
export const propertyLimit = 10_000;

/**
 * Looks a text over before anything is built from it, in time that grows with its length and in little memory: it may not seem deeper than
 * {@link seemingDepthLimit}, be denser anywhere from its beginning than {@link densityLimit}, have more than {@link documentLimit} documents, nor a document that is longer
 * than {@link documentSizeLimit} or has more than {@link propertyLimit} anchors, aliases and tags. Undefined where it may be read.
 */
export function findExcess(text: string): Excess | undefined {
  const gauge = createDepthGauge();
  let count = 0;
  let size = 0;
  let isList = false;
  let properties = 0;
  let documents = 0;
  let isScalar = false;
  for (const lexeme of new Lexer().lex(text)) {
    const depth = gauge.depthAfter(lexeme);
    if (depth > seemingDepthLimit) return { kind: 'depth', offset: gauge.offset() };
    if (lexeme !== marks.scalar) {
      count++;
      size++;
    }
    if (isScalar && depth <= 2 && (lexeme === 'items' || lexeme === '"items"')) isList = true;
    if (size > (isList ? listSizeLimit : documentSizeLimit)) return { kind: 'size', offset: gauge.offset() };
    // Junk is as dense in its beginning as it is as a whole.
    if (count > densityLimit(gauge.offset())) return { kind: 'density', offset: gauge.offset() };
    if (!isScalar && lexeme === '---') {
      properties = 0;
      size = 0;
      isList = false;
      if (++documents > documentLimit) return { kind: 'documents', offset: gauge.offset() };
    } else if (!isScalar && /^[&*!]/.test(lexeme)) properties++;
    if (properties > propertyLimit) return { kind: 'properties', offset: gauge.offset() };
    isScalar = lexeme === marks.scalar;
  }
  return undefined;
}
