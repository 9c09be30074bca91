/** A character that no configuration file may hold: where it stands, and a sentence. */
export interface ForbiddenCharacter {
  readonly offset: number;
  readonly message: string;
  readonly hint: string;
}

/**
 * Line ends that Kubernetes' reader takes for line ends and ours does not (YAML 1.1 section 5.4), then what YAML cannot print (YAML 1.2 section 5.1).
 * A byte order mark is fine at the very beginning.
 */
const forbidden =
  /(?<lineEnd>\r(?!\n)|[\u0085\u2028\u2029])|(?!^\ufeff)[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]/u;

/**
 * The first character of a file that would make it mean one thing here and another in a cluster, or that YAML does not allow at all; undefined when there
 * is none. What follows a bare carriage return is a comment to one reader and a field to the other.
 */
export function findForbiddenCharacter(text: string): ForbiddenCharacter | undefined {
  const found = forbidden.exec(text);
  if (found === null) return undefined;
  const [character] = found;
  const code = `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
  if (found.groups?.['lineEnd'] === undefined)
    return {
      offset: found.index,
      message: `holds the character ${code}, which YAML does not allow`,
      hint: 'write "\\x.." or "\\u...." in double quotes',
    };
  const what = character === '\r' ? 'a carriage return without a line feed' : `the character ${code}`;
  return {
    offset: found.index,
    message: `holds ${what}, which ends a line for Kubernetes and not here`,
    hint: character === '\r' ? 'save the file with LF or CRLF line ends' : 'remove it, or write "\\u...." in double quotes',
  };
}
