const longest = 200;
// A token that begins inside what is shown must be recognized even where only its first characters would be.
const window = longest + 64;

/**
 * One text of a request or a policy as it may stand in an explanation: at most 200 characters of printable ASCII, whatever a client sent, so that
 * no terminal or log viewer obeys it.
 */
export function shownText(text: string): string {
  const short = text.length > longest ? `${text.slice(0, longest)}...` : text;
  return short.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Names of headers that carry secrets, by what stands in them: rather one too many than one too few. */
const secretNames =
  /auth|token|secret|passw|pwd|cookie|session|credential|jwt|assertion|signature|csrf|xsrf|otp|userinfo|cert|key|identity/;

/** Whether the value of a header may never be shown: authorization, cookies, API keys, and whatever sounds like them. `name` in lower case. */
export function isSecretHeader(name: string): boolean {
  return name !== ':authority' && secretNames.test(name);
}

/** Whether a text may be a credential whatever it is called: a JWT, an authorization scheme, a PEM block, or 20 letters and digits without a break. */
export function isTokenLike(text: string): boolean {
  const start = text.slice(0, window);
  if (/eyJ|-----BEGIN|^\s*(?:bearer|basic|digest|negotiate|apikey|token)\s/i.test(start)) return true;
  for (const [run] of start.matchAll(/[\w+=~-]{20,}/g)) if (/\d/.test(run) && /[a-z]/i.test(run)) return true;
  return false;
}
