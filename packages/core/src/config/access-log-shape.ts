import { describeNode } from './node.js';
import { placeAt } from './place.js';
import { quote } from './problem.js';
import { flag, invalidAt, listOf, oneOf, record, refined, text, type Shape } from './shape.js';
import { spellingHint } from './spelling.js';

const targets = ['stdout', 'stderr', 'off'] as const;

/** What can be said of the access log. `file` is a path; without it and `to` it is standard output. */
export interface AccessLogFields {
  readonly to?: (typeof targets)[number];
  readonly file?: string;
  /** `json` (default), Istio's default text `istio`, or its JSON `istio-json`. */
  readonly format?: 'json' | 'istio' | 'istio-json';
  /** `refused` leaves out what was let through; default `all`. */
  readonly filter?: 'all' | 'refused';
  /** False leaves out calls by the mesh's clients; default true. Istio's formats have none. */
  readonly calls?: boolean;
}

/** The access log: a target by its word, or its fields. */
export type AccessLogSettings = 'stdout' | 'stderr' | 'off' | AccessLogFields;

const fields = refined(
  record<AccessLogFields>({
    to: oneOf(...targets),
    file: text({ min: 1, max: 4096 }),
    format: oneOf('json', 'istio', 'istio-json'),
    filter: oneOf('all', 'refused'),
    calls: flag,
  }),
  (value, place) => {
    if (value.to !== undefined && value.file !== undefined)
      invalidAt(placeAt(place, 'file'), '`to` and `file` are both given', 'name one or the other');
  },
);

/** The field `accessLog` of enmesh.yaml. */
export const accessLogShape: Shape<AccessLogSettings> = (place) => {
  const { node } = place;
  if (node.kind === 'map') return fields(place);
  const known = 'for a file write `accessLog: {file: PATH}`';
  if (node.kind !== 'scalar' || typeof node.value !== 'string')
    return invalidAt(place, `must be ${targets.join(', ')} or a map, not ${describeNode(node)}`, known);
  const word = node.value;
  const found = targets.find((one) => one === word);
  if (found !== undefined) return found;
  return invalidAt(place, `${quote(word)} is no target of an access log`, `${spellingHint(word, targets)}; ${known}`);
};

/** The field `auditClaims` of enmesh.yaml: names of claims that audit events may tell. */
export const auditClaimsShape: Shape<readonly string[]> = listOf(text({ min: 1, max: 128 }), { max: 32 });
