// Measures cedar-wasm in a process of its own: its loop has been seen to crash Node 20. Prints one JSON line per size.
import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import { nanoseconds } from './measure.mjs';

const rule = (i) =>
  `permit(principal == Client::"client-${i}", action == Action::"GET", resource) when { context.path like "/items/${i}/*" && context.group == "group-${i}" };`;

for (const size of process.argv.slice(2).map(Number)) {
  const start = performance.now();
  const policies = Array.from({ length: size }, (_, i) => rule(i)).join('\n');
  const parsed = preparsePolicySet('rules', { staticPolicies: policies });
  if (parsed.type !== 'success') throw new Error('cedar did not parse the rules');
  const load = performance.now() - start;
  const decide = (i) => () => {
    const answer = statefulIsAuthorized({
      principal: { type: 'Client', id: `client-${i}` },
      action: { type: 'Action', id: 'GET' },
      resource: { type: 'Service', id: 'product' },
      context: { path: `/items/${i}/a`, group: `group-${i}` },
      preparsedPolicySetId: 'rules',
      entities: [],
    });
    return answer.type === 'success' && answer.response.decision === 'allow';
  };
  if (!decide(size - 1)() || decide(size)()) throw new Error('cedar decides otherwise');
  const figures = { hit: nanoseconds(decide(size - 1), 100), miss: nanoseconds(decide(size), 100) };
  console.log(JSON.stringify({ size, load, ...figures }));
}
