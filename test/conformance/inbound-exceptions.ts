/** Answers of Envoy's codec in the inbound oracle, which show what its parser refuses: they are not compared. */
export const ofTheCodec = /^(http1\.|http\.invalid_authority|missing_host_header|absolute_path_rejected|filter_removed)/;

/** Where enmesh is stricter on purpose: why, what it answers, and to which cases. Nothing else may differ, and nothing here may open. */
export const exceptions: readonly {
  readonly reason: string;
  readonly answer: 'closed' | 400 | 401;
  readonly cases: readonly string[];
}[] = [
  {
    reason: 'two lines of Host or Authorization',
    answer: 400,
    cases: ['p0012-004', 'p0023-009', 'p0023-012', 'p0023-015', 'p0023-020'],
  },
  { reason: 'a Host whose port is no number', answer: 400, cases: ['p0072-022'] },
  { reason: 'a dot segment with encoded dots and a path parameter', answer: 400, cases: ['p0014-009'] },
  { reason: "white space behind the method, which Node's parser refuses", answer: 400, cases: ['p0041-018'] },
  { reason: 'a payload that is no strict JSON', answer: 401, cases: ['p0027-001', 'p0027-020'] },
  { reason: 'base64url that is not canonical, or more than three parts', answer: 401, cases: ['p0028-008', 'p0028-017'] },
  { reason: 'crit, b64 or zip in the header of a token', answer: 401, cases: ['p0028-002', 'p0028-018'] },
  { reason: 'an alg that does not fit the key', answer: 401, cases: ['p0028-007', 'p0028-022'] },
  {
    reason: 'a bad token on another line of the header, which Istio forgets with several rules',
    answer: 401,
    cases: ['p0083-009'],
  },
  {
    reason: 'a peer whose URI is no SPIFFE ID (empty segments)',
    answer: 'closed',
    cases: ['p0005-014', 'p0005-015', 'p0042-002', 'p0042-011', 'p0042-012', 'p0054-009'],
  },
  { reason: 'a list of foreign ALPN names only', answer: 'closed', cases: ['p0000-009'] },
];
