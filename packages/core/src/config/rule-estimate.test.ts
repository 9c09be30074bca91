import { describe, expect, it } from 'vitest';
import { createRuleEstimate } from './rule-estimate.js';

const rule = `
  - from: [{source: {namespaces: [a]}}]
    to:
    - operation: {paths: ["/to", "/from"]}
    when:
    - key: source.ip
      values: [10.0.0.1]
`;

describe('the estimate of rules', () => {
  it.each([
    ['rules with all keys', rule.repeat(3)],
    ['rules with one key', '- to: []\n'.repeat(3)],
    ['rules in JSON', `{"spec":{"rules":[${Array(3).fill('{"to":[{"operation":{"ports":["80"]}}]}').join()}]}}`],
    ['empty rules', 'rules: [{},{}, {}]'],
    ['empty rules in block style', '- {}\n- {}\n- {}\n'],
    ['rules of RequestAuthentication', "- issuer: 'a'\n".repeat(3)],
    ['rules of several kinds', "- {issuer: 'a'}\n- {to: []}\n- {}\n"],
  ])('finds three %s', (_, text) => {
    expect(createRuleEstimate(3).add(text)).toBeUndefined();
    expect(createRuleEstimate(2).add(text)).toBeDefined();
  });

  it('adds up what several texts hold, and says where the limit is passed', () => {
    const estimate = createRuleEstimate(3);
    expect(estimate.add('- to: []\n- to: []\n')).toBeUndefined();
    expect(estimate.add('# a\n- to: []\n- to: []\n')).toEqual({ offset: 15 });
  });

  it.each([
    ['comments', '  # to: [] from: [] when: []\n'],
    ["kubectl's copy of the document", '      {"apiVersion":"a","spec":{"rules":[{"to":[]},{"to":[]},{}]}}\n'],
    ['values', 'mtls: {}\nstatus: {"a":{}}\nname: to\nhost: from.to\n'],
    ['other keys', 'go-to: a\nx.from: b\nfromHeaders: c\nissuers: [d]\n'],
  ])('counts nothing in %s', (_, text) => {
    expect(createRuleEstimate(0).add(text)).toBeUndefined();
  });
});
