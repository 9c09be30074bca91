import type { DescribedDestination, DescribedPolicy, DescribedRule, MeshDescription } from '@enmesh/core/describe';
import type { SourcePosition } from '@enmesh/core/config';
import { formatTable, paint, printable } from '../output.js';
import { placeOf } from '../evaluate/render.js';

/** A description as sections for people. `directory` is put before the names of files; of a running process it is not known. */
export function formatDescription(described: MeshDescription, directory: string): string {
  const { workload, trustDomains } = described;
  const labels = Object.entries(workload.labels).map(([name, value]) => `${name}=${value}`);
  const sections = [
    `${paint('bold', workload.spiffeId)}\n  labels ${labels.length > 0 ? labels.join(', ') : 'none'}; admits peers of ${trustDomains.join(', ')}\n`,
    section('Ports', portsTable(described, directory)),
    section('Who may call', access(described, directory)),
    section('Policies in effect', policiesTable(described.policies, directory)),
    section('Destinations', destinationsTable(described.destinations)),
  ];
  return printable(sections.join('\n'), '\n\u001b');
}

function section(title: string, body: string): string {
  return `${paint('bold', title)}\n${(body === '' ? 'none\n' : body).replace(/^(?=.)/gm, '  ')}`;
}

const from = (source: SourcePosition | undefined, directory: string): string =>
  source === undefined ? '' : placeOf(source, directory);

function portsTable({ ports }: MeshDescription, directory: string): string {
  const rows = ports.map(({ port, mode, decidedBy, source, services = [] }) => [
    port === undefined ? 'others' : String(port),
    mode,
    decidedBy ?? "Istio's default",
    from(source, directory),
    services.join(', '),
  ]);
  return formatTable(['port', 'mode', 'decided by', 'in', 'reached as'], rows);
}

function policiesTable(policies: readonly DescribedPolicy[], directory: string): string {
  const rows = policies.map(({ kind, policy, action, dryRun, issuers, rules, source }) => [
    kind,
    policy,
    `${action ?? (issuers ?? []).join(', ')}${dryRun === true ? ' (dry run)' : ''}`,
    rules === undefined ? '' : String(rules.length),
    from(source, directory),
  ]);
  return formatTable(['kind', 'policy', 'what', 'rules', 'in'], rows);
}

function access({ access: who, policies }: MeshDescription, directory: string): string {
  const deciding = policies.filter(({ action, dryRun }) => action !== undefined && action !== 'AUDIT' && dryRun !== true);
  const order = ['CUSTOM', 'DENY', 'ALLOW'];
  const sorted = [...deciding].sort((a, b) => order.indexOf(a.action ?? '') - order.indexOf(b.action ?? ''));
  const lines = sorted.flatMap(({ action, policy, rules = [], source }) =>
    rules.length === 0
      ? [`${action === 'ALLOW' ? 'ALLOW nobody' : `${action} nothing`}: ${policy} has no rules (${from(source, directory)})`]
      : rules.map(
          (rule, index) => `${action} ${inWords(rule)}  ${paint('dim', `${policy} rule ${index}, ${from(source, directory)}`)}`,
        ),
  );
  const rest = who === 'everyone' ? 'Everyone else may call: no ALLOW policy selects this workload.' : 'Nobody else.';
  return [...lines, rest].map((line) => `${line}\n`).join('');
}

function inWords({ from: callers, to, when }: DescribedRule): string {
  return [
    callers ?? 'anyone',
    to === undefined ? 'to do anything' : `to ${to}`,
    ...(when === undefined ? [] : [`when ${when}`]),
  ].join(', ');
}

function destinationsTable(destinations: readonly DescribedDestination[]): string {
  const rows = destinations.map(
    ({ host, port, destination: { tls, auto, sni, autoSni, subjectAltNames = [], endpoints = [], refused, unreachable } }) => {
      const how =
        refused !== undefined
          ? `refused: ${refused.code}`
          : unreachable === true
            ? 'no endpoint'
            : `${tls ?? ''}${auto === true ? ' (auto)' : ''}`;
      const encrypted = tls !== undefined && tls !== 'DISABLE';
      return [
        `${host}:${port}`,
        how,
        encrypted ? (autoSni === true ? 'the host' : (sni ?? '')) : '',
        encrypted ? (subjectAltNames.length > 0 ? subjectAltNames.join(', ') : 'nobody: calls are refused') : '',
        String(endpoints.length),
      ];
    },
  );
  return formatTable(['destination', 'TLS', 'SNI', 'expects', 'endpoints'], rows);
}
