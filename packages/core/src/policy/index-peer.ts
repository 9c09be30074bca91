import type { Collect } from './index-dimension.js';
import { collectBackward, collectForward } from './index-trie.js';

const scheme = 'spiffe://';

/** The peer's SPIFFE ID without its scheme. */
export const ofIdentity: Collect = ({ forward, backward }, uri, into) => {
  // Without the scheme an identity satisfies nothing but a lone star, whose key is the empty beginning.
  const text = uri.startsWith(scheme) ? uri.slice(scheme.length) : '';
  collectForward(forward, text, 0, into);
  collectBackward(backward, text, text.length, into);
};

const namespaceMark = '/ns/';
const accountMark = '/sa/';

/**
 * What follows each `/ns/` of the peer's SPIFFE ID (istio-semantics 3.6): keys are namespaces with the slash behind them, the beginnings of
 * such, or as suffixes what stands before any later slash.
 */
export const ofNamespaces: Collect = ({ forward, backward }, uri, into) => {
  const first = uri.indexOf(namespaceMark);
  if (first === -1) return;
  for (let at = first; at !== -1; at = uri.indexOf(namespaceMark, at + 1)) {
    collectForward(forward, uri, at + namespaceMark.length, into);
  }
  for (let end = uri.indexOf('/', first + namespaceMark.length); end !== -1; end = uri.indexOf('/', end + 1)) {
    collectBackward(backward, uri, end, into);
  }
};

/** The segment behind each `/sa/` of the peer's SPIFFE ID. */
export const ofAccounts: Collect = ({ forward }, uri, into) => {
  for (let at = uri.indexOf(accountMark); at !== -1; at = uri.indexOf(accountMark, at + 1)) {
    const start = at + accountMark.length;
    const slash = uri.indexOf('/', start);
    collectForward(forward, slash === -1 ? uri : uri.slice(0, slash), start, into);
  }
};
