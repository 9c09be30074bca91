import { describe } from '../../../platform/ask.mjs';

const file = '08-no-drafts.yaml';
const lamp = '200 {"id":"1","name":"Table lamp","quantity":12}';
const desk = '200 {"id":"draft-3","name":"Standing desk","quantity":0}';
const denied = '403 RBAC: access denied';

export const editsStep = {
  title: '(10) Policies are edited while everything runs; a broken edit changes nothing',
  async run({ world, check, note }) {
    const token = await world.token('sub=alice');
    const get = async (what, path, want) => {
      const answer = await world.plain('gateway', path, { token });
      const why = answer.status === 403 ? await world.denied('gateway', { answer }) : world.allowed('gateway', answer);
      check({ asked: `GET ${path} ${what}`, got: describe(answer), want, why });
    };
    await get('before the edit', '/products/1', lamp);
    note(`${file}: /products/draft* becomes /products/1*`);
    await world.change((copy) => copy.edit(file, '"/products/draft*"', '"/products/1*"'));
    await get('after it', '/products/1', denied);
    await get('after it', '/products/draft-3', desk);

    note(`${file}: paths becomes pathes, a spelling mistake`);
    const from = world.mark('gateway');
    await world.change((copy) => copy.edit(file, 'paths:', 'pathes:'));
    const rejected = await world.shop.gateway.line(/config-rejected/, { from, what: 'word of the rejected edit' });
    const problem = await world.shop.gateway.line(new RegExp(`${file}:\\d+:\\d+`), { from, what: 'the place of the mistake' });
    const [, place] = new RegExp(`(${file}:\\d+:\\d+)`).exec(problem);
    check({
      asked: 'what the gateway says of the mistake',
      got: `${/ENMESH_\w+/.exec(rejected)?.[0]} ${place}`,
      want: `ENMESH_CONFIG_INVALID ${file}:${placeOf('pathes', world.shop.copy.read(file))}`,
      why: problem.trim(),
    });
    await get('with the mistake in the file', '/products/1', denied);
    await get('with the mistake in the file', '/products/draft-3', desk);
    await get('with the mistake in the file, without the rule being forgotten', '/healthz', '200 {"status":"ok"}');

    note('the mistake is mended, and the rule with it');
    await world.change((copy) => copy.teach(file));
    await get('after that', '/products/1', lamp);
    await get('after that', '/products/draft-3', denied);
  },
};

/** Line and column of a word, both from 1. */
function placeOf(word, text) {
  const before = text.slice(0, text.indexOf(word)).split('\n');
  return `${before.length}:${before.at(-1).length + 1}`;
}
