import type { DeniedEvent, NoticeEvent } from './events.js';

const maxText = 200;
const maxMessage = 4000;

/**
 * One refusal as one line: time, decision id, code, status, then what was asked, why not and the rule that came closest. Every text is bounded
 * and free of control characters and line breaks, whatever a client sent; of the path, the query is left out, because tokens travel in queries.
 */
export function formatDenied(event: DeniedEvent, now: number): string {
  const near = event.near?.[0];
  const parts = [
    `${new Date(now).toISOString()} enmesh denied ${plain(event.id, 64)} ${event.code} ${event.status}`,
    event.method === undefined ? '' : plain(event.method, 40),
    event.path === undefined ? '' : plain(withoutQuery(event.path), maxText),
    event.policy === undefined ? '' : `policy=${plain(event.policy, maxText)}`,
    event.rule === undefined ? '' : `rule=${event.rule}`,
    event.peer === undefined ? '' : `peer=${plain(event.peer, maxText)}`,
    `reason=${quoted(event.reason, maxText * 2)}`,
    near === undefined ? '' : `near=${quoted(near, maxText * 2)}`,
    `remedy=${quoted(event.remedy, maxText * 2)}`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

/** What happened to the mesh, as one line; a message of several lines (the problems of a configuration) stays several, each after the first indented. */
export function formatNotice(event: NoticeEvent, now: number): string {
  const level = event.level === 'info' ? '' : ` ${event.level}`;
  const code = event.code === undefined ? '' : ` ${event.code}`;
  const message = event.message.length > maxMessage ? `${event.message.slice(0, maxMessage)}...` : event.message;
  const lines = message.split('\n').map((line) => escape(line));
  const text = [lines[0], ...lines.slice(1).map((line) => `  ${line.trimStart()}`)].join('\n');
  return `${new Date(now).toISOString()} enmesh${level} ${event.kind}${code}: ${text}`;
}

function withoutQuery(path: string): string {
  const at = path.search(/[?#]/);
  return at < 0 ? path : path.slice(0, at);
}

// Bare when it cannot be taken for another field of the line.
function plain(text: string, max: number): string {
  const short = shorten(text, max);
  return /^[!#-<>-[\]-~]+$/.test(short) ? short : `"${escape(short, true)}"`;
}

function quoted(text: string, max: number): string {
  return `"${escape(shorten(text, max), true)}"`;
}

function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}...` : text;
}

// Terminals and log viewers obey control characters and bidirectional marks; only printable ASCII goes out as it is.
function escape(text: string, quotes = false): string {
  const whole = quotes ? text.replace(/["\\]/g, '\\$&') : text;
  return whole.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
