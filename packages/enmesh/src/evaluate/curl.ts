import { MisuseError } from '../output.js';

/** What a curl command line asks for; `headers` are lines `name: value`, in order. */
export interface CurlRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly body?: string;
}

/** Options with a value that say nothing about the request itself. */
const passedOver = new Set([
  '-o',
  '--output',
  '-w',
  '--write-out',
  '-m',
  '--max-time',
  '--connect-timeout',
  '--resolve',
  '--cacert',
  '--cert',
  '--key',
  '--retry',
]);
const flagsPassedOver =
  /^(-[svSkifL#]+|--(silent|show-error|verbose|insecure|include|fail|location|compressed|http1\.1|no-progress-meter))$/;

/** Splits a command line as a shell would, with quotes and backslashes; nothing is expanded. Throws `MisuseError` on an open quote. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < line.length; at += 1) {
    const char = line[at] as string;
    if (char === "'" || char === '"') {
      const [text, end] = quoted(line, at);
      word = (word ?? '') + text;
      at = end;
    } else if (char === '\\') {
      at += 1;
      if (line[at] !== '\n') word = (word ?? '') + (line[at] ?? '');
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

function quoted(line: string, start: number): [string, number] {
  const quote = line[start];
  let text = '';
  for (let at = start + 1; at < line.length; at += 1) {
    const char = line[at] as string;
    if (char === quote) return [text, at];
    if (char === '\\' && quote === '"' && /["\\$`]/.test(line[at + 1] ?? '')) text += line[(at += 1)] as string;
    else text += char;
  }
  throw new MisuseError('the curl line has a quote that is not closed');
}

/** Reads a curl command line, with or without the word `curl`. Throws `MisuseError` on an option it does not know. */
export function parseCurl(line: string): CurlRequest {
  const words = splitWords(line);
  if (words[0] === 'curl') words.shift();
  const headers: string[] = [];
  const data: string[] = [];
  let method: string | undefined;
  let url: string | undefined;
  const value = (option: string): string => {
    const next = words.shift();
    if (next === undefined) throw new MisuseError(`the curl line ends after ${option}`);
    return next;
  };
  const takers: Readonly<Record<string, (text: string) => void>> = {
    '-X': (text) => (method = text),
    '-H': (text) => headers.push(text),
    '-A': (text) => headers.push(`User-Agent: ${text}`),
    '-b': (text) => headers.push(`Cookie: ${text}`),
    '-u': (text) => headers.push(`Authorization: Basic ${Buffer.from(text).toString('base64')}`),
    '-d': (text) => data.push(text),
    '--url': (text) => (url = text),
  };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const option = shortNames[word] ?? (/^-[XHAbud]./.test(word) ? word.slice(0, 2) : word);
    const take = takers[option];
    if (take !== undefined) take(option !== word && !(word in shortNames) ? word.slice(2) : value(word));
    else if (word === '-I' || word === '--head') method ??= 'HEAD';
    else if (passedOver.has(word)) value(word);
    else if (word.startsWith('-') && !flagsPassedOver.test(word))
      throw new MisuseError(`the curl option ${word} is not understood here`);
    else if (!word.startsWith('-')) url = word;
  }
  if (url === undefined) throw new MisuseError('the curl line has no URL');
  return curlRequest(method, url, headers, data);
}

const shortNames: Readonly<Record<string, string>> = {
  '--request': '-X',
  '--header': '-H',
  '--user-agent': '-A',
  '--cookie': '-b',
  '--user': '-u',
  '--data': '-d',
  '--data-raw': '-d',
  '--data-ascii': '-d',
  '--data-binary': '-d',
  '--json': '-d',
};

/** What curl sends by itself, unless a header of the line says otherwise. */
function curlRequest(method: string | undefined, url: string, headers: string[], data: readonly string[]): CurlRequest {
  const has = (name: string): boolean => headers.some((line) => line.toLowerCase().startsWith(`${name}:`));
  if (!has('user-agent')) headers.push('User-Agent: curl');
  if (!has('accept')) headers.push('Accept: */*');
  if (data.length === 0) return { method: method ?? 'GET', url, headers };
  const body = data.join('&');
  if (!has('content-type')) headers.push('Content-Type: application/x-www-form-urlencoded');
  if (!has('content-length')) headers.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return { method: method ?? 'POST', url, headers, body };
}
