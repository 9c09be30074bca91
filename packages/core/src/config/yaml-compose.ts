import { Composer, Lexer, Parser, type CST, type Document, type YAMLError } from 'yaml';

/** What the composing of one text may cost, and what to tell about it. */
export interface ComposeOptions {
  /** So many faults may a text have before the rest of it is not looked at: the package keeps each with its stack, and nobody reads them all. */
  readonly faultLimit: number;
  /** A line that begins with `%`: it is left out, and the document after it is read as if it were not there. */
  readonly onDirective: (offset: number) => void;
  /** Ends the reading; `faults` are those of the document that was being read. */
  readonly onTooManyFaults: (faults: readonly YAMLError[]) => void;
}

/** Thrown through the package's composer, which cannot be stopped inside a document otherwise. */
const tooManyFaults = new Error('too many faults');

/**
 * The documents of a text as the package composes them, one after the other. Duplicate keys are not looked for: the package's own check takes quadratic
 * time in the size of a map, as its reading of `!!omap` does. To be called with a text that `findExcess` has nothing against.
 */
export function* composeDocuments(text: string, o: ComposeOptions): Generator<Document> {
  const composer = new Composer({ uniqueKeys: false, resolveKnownTags: false, logLevel: 'silent' });
  let left = o.faultLimit;
  let faults: () => readonly YAMLError[] = () => [];
  const spend = (): void => {
    if (left-- <= 0) throw tooManyFaults;
  };
  try {
    for (const token of readSyntaxTrees(text)) {
      if (token.type === 'directive') {
        spend();
        o.onDirective(token.offset);
      } else if (!betweenDocuments.has(token.type)) {
        faults = countFaults(composer, spend);
        yield* composer.next(token);
      }
    }
    yield* composer.end();
  } catch (error) {
    if (error !== tooManyFaults) throw error;
    o.onTooManyFaults(faults());
  }
}

/** The composer would keep every comment there. */
const betweenDocuments: ReadonlySet<string> = new Set(['comment', 'newline', 'space']);

function* readSyntaxTrees(text: string): Generator<CST.Token> {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) yield* parser.next(lexeme);
  yield* parser.end();
}

/** Makes the lists that the composer adds faults to count them; they are new ones for every document. */
function countFaults(composer: Composer, spend: () => void): () => readonly YAMLError[] {
  const { errors, warnings } = composer.streamInfo();
  for (const list of [errors, warnings] as YAMLError[][]) {
    if (Object.hasOwn(list, 'push')) continue;
    list.push = (...added) => {
      spend();
      return Array.prototype.push.apply(list, added);
    };
  }
  return () => [...errors, ...warnings];
}
