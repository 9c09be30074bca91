// Loaded into every service before its own code (node --import): hears on enmesh's diagnostics channels what the door decides, and tells the walk. The
// services know nothing of it; a log shipper would listen in the same way.
import { subscribe } from 'node:diagnostics_channel';

const tell = (message) => process.connected && process.send(message);

subscribe('enmesh:denied', ({ id, step, code, reason, policy, rule, near }) => {
  tell({ kind: 'denied', id, step, code, reason, policy, rule, near });
});
subscribe('enmesh:handler', ({ subject: { method, url, enmesh } }) => {
  const { peer, user, actors, decision } = enmesh;
  const who = { peer: peer?.principal, certificate: peer?.certificateSha256, user: user?.principal, actors };
  tell({ kind: 'allowed', method, url, ...who, policy: decision.policy, rule: decision.rule });
});
subscribe('enmesh:notice', ({ kind, details }) => {
  if (kind === 'config-loaded') tell({ kind: 'configured', workloads: details.counts.WorkloadEntry ?? 0 });
});
