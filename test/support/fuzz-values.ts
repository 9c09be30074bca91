import type { Dice } from '../reference/random-values.js';

/** Values of a document by the field or key they stand in, and texts that rules ask about. */
export type Harvest = ReadonlyMap<string, readonly string[]>;

/** Collects the values of every list of texts in documents, under the name of its field (`notX` as `x`) or condition. */
export function harvest(documents: readonly object[]): Harvest {
  const found = new Map<string, string[]>();
  const visit = (value: unknown, name: string): void => {
    if (typeof value === 'string') found.set(name, [...(found.get(name) ?? []), value]);
    else if (Array.isArray(value)) for (const one of value) visit(one, name);
    else if (typeof value === 'object' && value !== null) {
      const { key } = value as { key?: unknown };
      for (const [member, inner] of Object.entries(value)) {
        const field = member.replace(/^not([A-Z])/, (_, letter: string) => letter.toLowerCase());
        visit(inner, field === 'values' && typeof key === 'string' ? key : field);
      }
    }
  };
  for (const document of documents) visit(document, '');
  return found;
}

/** A text that a value of a policy probably matches. */
export function instance(dice: Dice, value: string): string {
  const filler = (): string => dice.pick(['', 'a', 'b', 'x1', '/', '/a', 'a/b', '.json', 'admin', 'B']);
  if (value === '*') return dice.pick(['a', '', 'x', 'admin']);
  return value
    .replaceAll('{**}', () => dice.pick(['a', '', 'a/b', 'a/b/c', 'x=1;y']))
    .replaceAll('{*}', () => dice.pick(['a', 'b', '', 'x%20y', '[x]', 'a.b']))
    .replaceAll('*', filler);
}

/** A text near another one: often itself, else changed in a way that a matcher could get wrong. */
export function twist(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1);
  return dice.pick([
    () => text,
    () => text,
    () => text,
    () => text.toUpperCase(),
    () => text.toLowerCase(),
    () => `${text}x`,
    () => `x${text}`,
    () => text.slice(1),
    () => text.slice(0, -1),
    () => `${text.slice(0, at)}*${text.slice(at)}`,
    () => `${text.slice(0, at)},${text.slice(at)}`,
    () => `${text}, ${text}`,
    () => '',
    () => `${text}${text}`,
    () => text.replace('.', 'X'),
    () => text.replaceAll('/', '//'),
  ])();
}

/** A value of a policy near another one. */
export function twistValue(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1);
  const changed = dice.pick([
    () => text,
    () => `${text.slice(0, at)}*`,
    () => `*${text.slice(at)}`,
    () => '*',
    () => text.replaceAll('*', ''),
    () => text.toUpperCase(),
    () => text.toLowerCase(),
    () => `*${text}`,
    () => `${text}*`,
    () => `*${text.slice(at)}*`,
    () => text.replaceAll('{**}', '{*}'),
    () => text.replaceAll(/\/[a-z]+\//g, '/{*}/'),
    () => text.replace(/\/[^/]*$/, '/{**}'),
  ])();
  return changed === '' ? text : changed;
}

/** Another spelling of a path, or another path that some reader may take for it. */
export function twistPath(dice: Dice, path: string): string {
  const at = 1 + dice.below(path.length);
  const escape = (text: string): string => `%${text.charCodeAt(0).toString(16).padStart(2, '0')}`;
  return dice.pick([
    () => path.replaceAll('/', '//'),
    () => `${path}/`,
    () => path.replace(/\/$/, ''),
    () => `/x/..${path}`,
    () => `/./${path.slice(1)}`,
    () => `${path}/.`,
    () => `${path}/x/..`,
    () => `/x/..;a=b${path}`,
    () => `${path};a=b`,
    () => `${path.slice(0, at)};x${path.slice(at)}`,
    () => (at < path.length ? path.slice(0, at) + escape(path[at] as string) + path.slice(at + 1) : path),
    () => (at < path.length ? path.slice(0, at) + escape(path[at] as string).toUpperCase() + path.slice(at + 1) : path),
    () => path.slice(0, 1) + path.slice(1).replaceAll('/', '%2f'),
    () => path.slice(0, 1) + path.slice(1).replaceAll('/', '%2F%2F'),
    () => path.slice(0, 1) + path.slice(1).replaceAll('/', '%5c'),
    () => path.replaceAll('/', '\\'),
    () => `/x/%2e%2e${path}`,
    () => `/x/.%2E${path}`,
    () => `/%%32%65%%32%65${path}`,
    () => `${path.slice(0, at)}%25${path.slice(at)}`,
    () => `${path.slice(0, at)}%${path.slice(at)}`,
    () => `${path.slice(0, at)}%2${path.slice(at)}`,
    () => `${path}#${path}`,
    () => `${path}"<>^\`{|}`,
    () => `${path}[]'!$(),@`,
    () => `${path}%c3%a9%C3%A9`,
    () => `${path}.`,
    () => `${path}..`,
    () => `${path}/...`,
    () => path.toUpperCase(),
    () => `${path}${'/a'.repeat(dice.pick([10, 1000, 8000]))}`,
    () => `/../..${path}`,
    () => `//host${path}`,
    () => `${path}*`,
  ])();
}
