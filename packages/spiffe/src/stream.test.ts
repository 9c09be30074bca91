import { EventEmitter } from 'node:events';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { createTestClock } from '@enmesh/core/testing';
import { watchStream, type StreamEnd } from './stream.js';

class Stream extends EventEmitter {
  cancelled = false;
  cancel(): void {
    this.cancelled = true;
  }
  end(code: number): void {
    if (code !== 0) this.emit('error', new Error('secret'));
    this.emit('status', { code, details: 'said' });
  }
}

const start = () => {
  const clock = createTestClock(0);
  const streams: Stream[] = [];
  const messages: string[] = [];
  const ends: StreamEnd[] = [];
  const watched = watchStream<string>({
    open() {
      const stream = new Stream();
      streams.push(stream);
      return stream;
    },
    onMessage: (message) => void messages.push(message),
    onEnd: (end) => void ends.push(end),
    timer: clock.timer,
    elapsed: clock.now,
  });
  return { clock, streams, messages, ends, watched, last: () => streams.at(-1)! };
};

describe('a stream of the Workload API', () => {
  it('is opened again after 1, 2, 3 .. 30 seconds while it fails, and from 1 again after a message', () => {
    const { clock, ends, streams, last } = start();
    for (let n = 0; n < 32; n++) {
      last().end(status.UNAVAILABLE);
      clock.advance(ends.at(-1)!.retryInMs! - 1);
      expect(streams).toHaveLength(n + 1);
      clock.advance(1);
    }
    expect(ends.map(({ retryInMs }) => retryInMs)).toEqual([
      ...Array.from({ length: 30 }, (_, n) => (n + 1) * 1000),
      30_000,
      30_000,
    ]);
    last().emit('data', 'hello');
    last().end(status.PERMISSION_DENIED);
    expect(ends.at(-1)).toEqual({ code: 7, details: 'said', retryInMs: 1000 });
  });

  it('is opened again at once when the server ends it well, but not when it does so within a second', () => {
    const { clock, ends, streams, last } = start();
    clock.advance(1000);
    last().end(status.OK);
    expect(ends.at(-1)?.retryInMs).toBe(0);
    clock.advance(0);
    expect(streams).toHaveLength(2);
    last().end(status.OK);
    expect(ends.at(-1)?.retryInMs).toBe(2000);
  });

  it.each([status.INVALID_ARGUMENT, status.UNIMPLEMENTED])('is never opened again after status %i', (code) => {
    const { clock, ends, streams, last, watched } = start();
    last().end(code);
    clock.advance(3_600_000);
    watched.reopen();
    expect(ends).toEqual([{ code, details: 'said', retryInMs: undefined }]);
    expect(streams).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it('is cancelled and leaves no timer when stopped, and hears nothing after that', () => {
    const { clock, ends, messages, streams, last, watched } = start();
    watched.stop();
    expect(last().cancelled).toBe(true);
    last().emit('data', 'late');
    last().end(status.CANCELLED);
    expect([messages, ends]).toEqual([[], []]);
    const other = start();
    other.last().end(status.UNAVAILABLE);
    other.watched.stop();
    expect([clock.pending, other.clock.pending, streams.length]).toEqual([0, 0, 1]);
  });

  it('gives up the present stream for a new one when reopened', () => {
    const { streams, messages, watched } = start();
    watched.reopen();
    expect(streams.map(({ cancelled }) => cancelled)).toEqual([true, false]);
    streams[0]!.emit('data', 'old');
    streams[1]!.emit('data', 'new');
    expect(messages).toEqual(['new']);
  });

  it('takes a throw when opening for a failure', () => {
    const clock = createTestClock(0);
    const ends: StreamEnd[] = [];
    const { stop } = watchStream({
      open: () => {
        throw new Error('secret');
      },
      onMessage: () => {},
      onEnd: (end) => void ends.push(end),
      timer: clock.timer,
    });
    expect(ends).toEqual([{ code: 13, details: 'the call could not be made', retryInMs: 1000 }]);
    stop();
  });
});
