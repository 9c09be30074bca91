import { RefusedError, type Fields } from './fields.js';

/** The forms of a legacy StringMatch. */
export const stringMatchFields = ['exact', 'prefix', 'suffix', 'regex'] as const;

/** A legacy StringMatch as a path of today: `x`, `x*` or `*x`. A regular expression, and a literal that today's syntax would read as a pattern, are refused. */
export function pathOf(match: Fields): string {
  if (match.has('regex')) {
    throw new RefusedError(
      `${match.path}.regex`,
      'AuthorizationPolicy has no regular expressions; write exact, prefix or suffix matches',
    );
  }
  const forms = stringMatchFields.filter((form) => match.has(form));
  if (forms.length !== 1) throw new RefusedError(match.path, 'must be one of exact, prefix and suffix');
  const form = forms[0]!;
  const text = match.text(form)!;
  if (form === 'exact' && text === '') throw new RefusedError(match.path, 'an empty path matches no request');
  if (text.startsWith('*') || text.endsWith('*') || /[{}]/.test(text)) {
    throw new RefusedError(`${match.path}.${form}`, 'the text holds *, { or }, which today would be a pattern');
  }
  if (form === 'exact') return text;
  return form === 'prefix' ? `${text}*` : `*${text}`;
}
