import { describe, expect, it } from 'vitest';
import { parseCurl, splitWords } from './curl.js';

const sent = ['User-Agent: curl', 'Accept: */*'];

describe('a command line', () => {
  it.each([
    [`a  b\tc`, ['a', 'b', 'c']],
    [`'a b' "c d"`, ['a b', 'c d']],
    [`a'b'"c"d`, ['abcd']],
    [`''`, ['']],
    [`a\\ b \\'`, ['a b', "'"]],
    [`"a\\"b\\n" 'c\\n'`, ['a"b\\n', 'c\\n']],
    ['a \\\n b', ['a', 'b']],
    ['$HOME `x`', ['$HOME', '`x`']],
  ])('%s is split as a shell does', (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  it('is refused with a quote that is not closed', () => {
    expect(() => splitWords(`a "b`)).toThrow('not closed');
  });
});

describe('a curl line', () => {
  it.each([
    ['curl http://a/b', { method: 'GET', url: 'http://a/b', headers: sent }],
    ['http://a', { method: 'GET', url: 'http://a', headers: sent }],
    ['curl -XPUT http://a', { method: 'PUT', url: 'http://a', headers: sent }],
    ['curl --request PATCH --url http://a', { method: 'PATCH', url: 'http://a', headers: sent }],
    ['curl -I http://a', { method: 'HEAD', url: 'http://a', headers: sent }],
    [`curl -sSv -k -o /dev/null -w '%{http_code}' http://a`, { method: 'GET', url: 'http://a', headers: sent }],
    [
      `curl -H 'x-a: 1' -H "accept: b" http://a`,
      { method: 'GET', url: 'http://a', headers: ['x-a: 1', 'accept: b', 'User-Agent: curl'] },
    ],
    ['curl -u a:b http://a', { method: 'GET', url: 'http://a', headers: ['Authorization: Basic YTpi', ...sent] }],
    ['curl -b a=1 -A x http://a', { method: 'GET', url: 'http://a', headers: ['Cookie: a=1', 'User-Agent: x', 'Accept: */*'] }],
    [
      'curl http://a -d x=1 --data y=2',
      {
        method: 'POST',
        url: 'http://a',
        headers: [...sent, 'Content-Type: application/x-www-form-urlencoded', 'Content-Length: 7'],
        body: 'x=1&y=2',
      },
    ],
  ])('%s is read', (line, request) => {
    expect(parseCurl(line)).toEqual(request);
  });

  it.each([
    ['curl --proxy x http://a', '--proxy'],
    ['curl -H', 'ends after -H'],
    ['curl -s', 'no URL'],
  ])('%s is refused', (line, sentence) => {
    expect(() => parseCurl(line)).toThrow(sentence);
  });
});
