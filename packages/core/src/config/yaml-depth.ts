/**
 * So deep may the text of a document seem to be nested before it is refused unread. The package's composer calls itself once a level, and V8 ends the
 * whole process, instead of throwing, when a regular expression is first compiled on an exhausted stack: what goes in must be shallow.
 * Indentation and indicators are counted apart here, so a document may seem about twice as deep as it is.
 */
export const seemingDepthLimit = 256;

/** Measures a text as the package's lexer takes it apart. */
export interface DepthGauge {
  /** How deep the text seems to be nested once this lexeme is read. */
  depthAfter(lexeme: string): number;
  /** Where the last lexeme ended. */
  offset(): number;
}

/** The lexer's own marks, which stand for no text. */
export const marks = { document: '\u0002', flowEnd: '\u0018', scalar: '\u001f' };

/** Follows brackets and, outside of them, the columns at which lines and indicators begin: each deeper one may open a collection. */
export function createDepthGauge(): DepthGauge {
  const columns: number[] = [];
  let offset = 0;
  let column = 0;
  let flow = 0;
  let startsLine = true;
  let isScalar = false;
  const touch = (): void => {
    while (columns.length > 0 && columns.at(-1)! >= column) columns.pop();
    columns.push(column);
  };
  const advance = (lexeme: string): void => {
    const lineEnd = lexeme.lastIndexOf('\n');
    offset += lexeme.length;
    column = lineEnd === -1 ? column + lexeme.length : lexeme.length - lineEnd - 1;
    startsLine = lineEnd !== -1 ? true : startsLine && /^[ \t]*$/.test(lexeme);
  };
  const look = (lexeme: string): void => {
    const opens = !isScalar && (lexeme === '[' || lexeme === '{');
    const closes = !isScalar && (lexeme === ']' || lexeme === '}');
    const indicates = !isScalar && (lexeme === '-' || lexeme === '?' || lexeme === ':');
    if (flow === 0 && (indicates || opens || (startsLine && /^[^ \t\r\n#]/.test(lexeme)))) touch();
    if (opens) flow++;
    else if (closes && flow > 0) flow--;
  };
  return {
    depthAfter(lexeme) {
      if (lexeme === marks.document || lexeme === marks.flowEnd) {
        flow = 0;
        if (lexeme === marks.document) columns.length = 0;
      } else if (lexeme === marks.scalar) {
        isScalar = true;
        return columns.length + flow;
      } else {
        look(lexeme);
        advance(lexeme);
      }
      isScalar = false;
      return columns.length + flow;
    },
    offset: () => offset,
  };
}
