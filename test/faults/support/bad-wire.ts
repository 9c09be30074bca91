import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** What a wire does with the bytes of a connection. */
export type WireFault =
  | { readonly kind: 'none' }
  /** Each piece comes later, by 100 to 300 ms. */
  | { readonly kind: 'delay' }
  /** Each connection ends, by FIN, after so many bytes of the answer. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Each piece of the answer has this chance to be a reset instead. */
  | { readonly kind: 'reset'; readonly chance: number }
  /** Nothing passes any more, and nobody is told. */
  | { readonly kind: 'black-hole' };

/** A wire between a caller and a port that behaves as badly as it is told to. */
export interface BadWire {
  readonly port: number;
  fault: WireFault;
  /** Where new connections lead. */
  target: number;
  close(): void;
}

/** Lays a wire to `target`, at first a good one. `random` gives numbers from 0 to below 1. */
export async function createBadWire(target: number, random: () => number = Math.random): Promise<BadWire> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port: wire.target });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    near.on('data', (bytes: Buffer) => pass(wire.fault, bytes, near, far, random));
    let answered = 0;
    far.on('data', (bytes: Buffer) => {
      answered += bytes.length;
      const { fault } = wire;
      if (fault.kind === 'cut' && answered > fault.afterBytes) return void near.end(bytes.subarray(0, 1), () => near.destroy());
      if (fault.kind === 'reset' && random() < fault.chance) return void near.resetAndDestroy();
      pass(fault, bytes, far, near, random);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const wire: BadWire = {
    port: (server.address() as AddressInfo).port,
    fault: { kind: 'none' },
    target,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return wire;
}

/** Hands bytes over in their order, late where the wire is slow. */
function pass(fault: WireFault, bytes: Buffer, from: Socket, to: Socket, random: () => number): void {
  if (fault.kind === 'black-hole') return;
  if (fault.kind !== 'delay') return void to.write(bytes);
  // Nothing more is read until it is handed over, so the order stays.
  from.pause();
  setTimeout(
    () => {
      to.write(bytes);
      from.resume();
    },
    100 + 200 * random(),
  );
}
