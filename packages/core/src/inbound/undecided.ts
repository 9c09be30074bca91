import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { noticeEvents } from '../telemetry/events.js';
import { decisionOf } from './decided.js';
import { isProbeRequest } from './probe.js';

/**
 * Watches, by Node's own diagnostics channel, for a request that was answered without being decided: an application that owns its server and
 * forgot the middleware. Says so once, with the line to add; ends by itself at the first request that was decided, so it costs nothing after that.
 */
export function watchUndecided(): () => void {
  const finished = channel('http.server.response.finish');
  const onFinish = (message: unknown): void => {
    const { request } = message as { request?: IncomingMessage };
    if (request === undefined || isProbeRequest(request)) return;
    finished.unsubscribe(onFinish);
    if (decisionOf(request) !== undefined) return;
    noticeEvents.publish({
      kind: 'undecided-request',
      level: 'warn',
      code: 'ENMESH_INBOUND_UNDECIDED',
      message:
        'a request was answered that the mesh never decided: this server is not behind the mesh. ' +
        'Use listen(mesh, app, port) (Express), serverFactory (Fastify) or mesh.createServer(listener), ' +
        'or add app.use(enmesh(mesh)) before the first route',
    });
  };
  finished.subscribe(onFinish);
  return () => void finished.unsubscribe(onFinish);
}
