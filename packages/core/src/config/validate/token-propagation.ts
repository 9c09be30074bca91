import type { OutboundPropagation, PropagationMode, TokenPropagationSpec } from '../token-propagation.js';
import { errorAt } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, record, refined, text, type Shape } from '../shape.js';
import { spellingHint } from '../spelling.js';
import { workloadSelector } from './selector.js';
import { isHostPattern } from './values.js';

const laterModes = ['HOP', 'EXCHANGE', 'FORWARD'];

const mode: Shape<PropagationMode> = (place) => {
  const value = text()(place);
  if (value === undefined || value === 'NONE') return value;
  if (!laterModes.includes(value)) return invalidAt(place, 'must be NONE', spellingHint(value, ['NONE', ...laterModes]));
  return errorAt(
    place,
    'ENMESH_CONFIG_UNSUPPORTED',
    `mode ${value} is not in this version; later ones add ${laterModes.join(', ')}`,
    'write NONE',
  );
};

/** A field that only has a meaning with the later modes. */
const laterField: Shape<never> = (place) =>
  errorAt(
    place,
    'ENMESH_CONFIG_UNSUPPORTED',
    `this version propagates no tokens, so it does not read this field`,
    `it belongs to modes ${laterModes.join(', ')}`,
  );

const host = refined(text({ min: 1 }), (value, place) => {
  if (!isHostPattern(value)) invalidAt(place, `${quote(value)} is no host name`);
});

const outbound = record<OutboundPropagation & { readonly claims?: never; readonly exchange?: never }>(
  { hosts: listOf(host, { min: 1 }), mode, claims: laterField, exchange: laterField },
  { required: ['hosts'] },
);

/** `spec` of TokenPropagation (enmesh.dev/v1). Modes and fields of later versions are `ENMESH_CONFIG_UNSUPPORTED`. */
export const tokenPropagationSpec: Shape<TokenPropagationSpec> = record<TokenPropagationSpec & { readonly inbound?: never }>({
  selector: workloadSelector,
  outbound: listOf(outbound),
  inbound: laterField,
});
