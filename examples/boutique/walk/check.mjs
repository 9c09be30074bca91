// One check: a call, what its client got, and why, each compared with what was expected.
import { describe } from '../../platform/ask.mjs';

/**
 * A call that is to be refused: `ask(world)` makes it, the client is to get `want`, and `because` is to be found in what the service `at` tells of its
 * decision; without `at` the caller itself refuses to send anything.
 */
export async function checkRefusal(world, { what, ask, want, at, because }) {
  const from = world.heard.length;
  const answer = await ask(world);
  const got = describe(answer);
  const why = short(at === undefined ? `the caller: ${answer.message}` : await refusalIn(world, { at, answer, from, because }));
  return { what, got, why, ok: got === want && because.test(why), expected: `${want}, because ${because.source}` };
}

async function refusalIn(world, { at, answer, from, because }) {
  const isRefused = answer.status === 0 || answer.headers['x-enmesh-decision'] !== undefined;
  if (!isRefused) return `let in by ${(await world.allowed(1, from)).map(entrance).join('; ')}`;
  const event = await world.denied(at, answer, from);
  if (event === undefined) return `${at} told nothing`;
  // Several rules can be equally near; the one that this check is about is the one to show.
  const near = event.near?.find((one) => because.test(one)) ?? event.near?.[0];
  return `${at}: ${event.reason}${near === undefined ? '' : `; near ${near}`}`;
}

/** A call of the story: `want` is the answer's JSON, `path` the ways that it takes, in any order, as {@link entrance} says them. */
export async function checkPassage(world, { what, ask, want, path }) {
  const from = world.heard.length;
  const answer = await ask(world);
  const found = (await world.allowed(path.length, from)).map(entrance).toSorted();
  const wanted = `200 ${JSON.stringify(want)}`;
  const isRight = describe(answer) === wanted && found.join('\n') === path.toSorted().join('\n');
  return {
    what,
    got: describe(answer),
    why: found.join('; '),
    ok: isRight,
    expected: `${wanted}, by ${path.toSorted().join('; ')}`,
  };
}

/** Nearly everybody here is of one namespace; the lines are long enough. */
const short = (text) =>
  text.replaceAll(/(spiffe:\/\/)?cluster\.local\/ns\/boutique\/sa\//g, '').replaceAll('near boutique/', 'near ');

const nameIn = (principal) => principal.slice(principal.lastIndexOf('/') + 1);

/** One request that a service let in: `cart < checkout < frontend for alice` is cart, called by checkout, which was called by frontend, for alice. */
function entrance({ service, peer, user, actors }) {
  const chain = actors.length > 0 ? actors : [peer ?? 'outside'];
  return `${[service, ...chain.map(nameIn)].join(' < ')}${user === undefined ? '' : ` for ${nameIn(user)}`}`;
}
