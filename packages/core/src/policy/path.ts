import type { RequestAttributes } from '../request/attributes.js';
import { anyText, compileText, type TextMatcher } from './match.js';
import { compileTemplates, isTemplateCode, type PathTemplate } from './template-set.js';

export type { PathTemplate } from './template-set.js';

/** So few templates are asked one after the other, without taking the path apart. */
const fewTemplates = 4;

function isTemplateText(text: string, from: number, to: number, withSlashes: boolean): boolean {
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x2f) {
      if (!withSlashes) return false;
    } else if (!isTemplateCode(code)) return false;
  }
  return true;
}

/** Undefined when the value is no template that Envoy loads: it must begin with `/`, hold whole operators only, and none behind `{**}`. */
export function parseTemplate(value: string): PathTemplate | undefined {
  const [first, ...segments] = value.split('/');
  if (first !== '' || segments.length === 0) return undefined;
  const glob = segments.indexOf('{**}');
  const literals = segments.filter((segment) => segment !== '{*}' && segment !== '{**}');
  if (literals.some((segment) => segment.includes('*') || !isTemplateText(segment, 0, segment.length, false))) return undefined;
  const head = (glob === -1 ? segments : segments.slice(0, glob)).map((segment) => (segment === '{*}' ? undefined : segment));
  if (glob === -1) return { head, tail: undefined };
  const tail = segments.slice(glob + 1);
  if (tail.includes('{*}') || tail.includes('{**}')) return undefined;
  return { head, tail: tail.map((segment) => `/${segment}`).join('') };
}

/** The end of the segment that `head` must match at `at`, or -1. */
function endOfSegment(path: string, at: number, head: string | undefined): number {
  if (path.charCodeAt(at) !== 0x2f) return -1;
  const start = at + 1;
  if (head !== undefined) return path.startsWith(head, start) ? start + head.length : -1;
  const next = path.indexOf('/', start);
  const end = next === -1 ? path.length : next;
  return end > start && isTemplateText(path, start, end, false) ? end : -1;
}

function templateMatcher({ head, tail }: PathTemplate): TextMatcher {
  return (path) => {
    let at = 0;
    for (const segment of head) {
      at = endOfSegment(path, at, segment);
      if (at === -1) return false;
    }
    if (tail === undefined) return at === path.length;
    const end = path.length - tail.length;
    return path.charCodeAt(at) === 0x2f && end > at && path.endsWith(tail) && isTemplateText(path, at + 1, end, true);
  };
}

/** Values of `paths`, templates among them, against one spelling of a path; undefined when a template is malformed. */
export function compilePaths(values: readonly string[]): TextMatcher | undefined {
  const templates: PathTemplate[] = [];
  const texts: string[] = [];
  for (const value of values) {
    if (!value.includes('{') && !value.includes('}')) {
      texts.push(value);
      continue;
    }
    const template = parseTemplate(value);
    if (template === undefined) return undefined;
    templates.push(template);
  }
  const matchers = templates.length > fewTemplates ? [compileTemplates(templates)] : templates.map(templateMatcher);
  if (texts.length > 0) matchers.unshift(compileText(texts, 'some'));
  return anyText(matchers);
}

/** Whether a request's path satisfies a field. */
export type PathMatcher = (request: RequestAttributes) => boolean;

/**
 * Values of `paths` against a request. With `anySpelling` one spelling of the route is enough, and case is ignored where the router ignores it
 * (security rule 3): for positive paths of DENY and negative paths of ALLOW.
 */
export function compileRequestPaths(values: readonly string[], anySpelling: boolean): PathMatcher | undefined {
  const exact = compilePaths(values);
  if (!anySpelling) return exact && ((request) => exact(request.path));
  const folded = compilePaths(values.map((value) => value.toLowerCase()));
  if (exact === undefined || folded === undefined) return undefined;
  return (request) => {
    if (exact(request.path)) return true;
    const ignoresCase = request.pathIgnoresCase;
    if (ignoresCase && folded(request.path.toLowerCase())) return true;
    for (const spelling of request.pathSpellings)
      if (exact(spelling) || (ignoresCase && folded(spelling.toLowerCase()))) return true;
    return false;
  };
}
