import { parentPort, workerData } from 'node:worker_threads';
import { serveValidation, workerMark } from './worker-protocol.js';

// Loaded by mistake in a worker of the application's own, this must not take over that worker's port.
if (parentPort !== null && workerData === workerMark) {
  const port = parentPort;
  port.on(
    'message',
    serveValidation((reply) => port.postMessage(reply)),
  );
}
