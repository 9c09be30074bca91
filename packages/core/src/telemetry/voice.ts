import type { Stop } from '../identity/source.js';
import { deniedEvents, noticeEvents, type DeniedEvent, type NoticeEvent } from './events.js';
import { formatDenied, formatNotice } from './log-line.js';
import { createRateLimit, type RateLimit } from './rate-limit.js';
import { createStandardErrorWriter } from './standard-error.js';

/** How a voice speaks. `clock` gives milliseconds since the epoch. */
export interface VoiceOptions {
  /** Gets each line, without its end. Default: standard error, never waiting for its reader. */
  readonly write?: (line: string) => void;
  readonly clock?: () => number;
  /** How many lines a second are written, of denials and of notices each; what is above is counted. Default 20. */
  readonly linesPerSecond?: number;
  /** How many may come at once after a pause. Default 40. */
  readonly burst?: number;
}

// Events go to the whole process, so two meshes in it would say everything twice.
let shared: { stop: Stop; users: number } | undefined;

/**
 * The default voice of a mesh: each denial and each notice becomes one line, rate-limited, with a summary line of what was held back.
 * Voices without a `write` of their own share one. Never blocks, never throws. The answer ends it.
 */
export function createVoice(o: VoiceOptions = {}): Stop {
  if (o.write !== undefined) return speak(o, o.write);
  shared ??= { stop: speak(o, createStandardErrorWriter()), users: 0 };
  const voice = shared;
  voice.users += 1;
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    if (--voice.users > 0) return;
    voice.stop();
    shared = undefined;
  };
}

function speak(o: VoiceOptions, write: (line: string) => void): Stop {
  const clock = o.clock ?? Date.now;
  const denials = createSpeaker<DeniedEvent>('denials', formatDenied, { o, write, clock });
  const notices = createSpeaker<NoticeEvent>('notices', formatNotice, { o, write, clock });
  const stops = [deniedEvents.subscribe(denials.say), noticeEvents.subscribe(notices.say)];
  return () => {
    for (const stop of stops) stop();
    denials.end();
    notices.end();
  };
}

interface Speaker<Event> {
  readonly say: (event: Event) => void;
  readonly end: () => void;
}

interface SpeakerOptions {
  readonly o: VoiceOptions;
  readonly write: (line: string) => void;
  readonly clock: () => number;
}

function createSpeaker<Event>(
  what: string,
  format: (event: Event, now: number) => string,
  { o, write, clock }: SpeakerOptions,
): Speaker<Event> {
  const limit: RateLimit = createRateLimit({ perSecond: o.linesPerSecond ?? 20, burst: o.burst ?? 40, clock });
  let timer: NodeJS.Timeout | undefined;

  const summarize = (): void => {
    timer = undefined;
    const count = limit.suppressed();
    if (count > 0) attempt(() => write(`${new Date(clock()).toISOString()} enmesh ${count} more ${what} were not written`));
  };
  const say = (event: Event): void =>
    attempt(() => {
      if (limit.take()) write(format(event, clock()));
      else timer ??= setTimeout(summarize, 1000).unref();
    });
  const end = (): void => {
    clearTimeout(timer);
    summarize();
  };
  return { say, end };
}

// A voice that fails must not fail the request it speaks of; there is nobody left to tell.
function attempt(work: () => void): void {
  try {
    work();
  } catch {}
}
