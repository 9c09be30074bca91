import { get } from 'node:http';
import { MisuseError } from './output.js';

/** The most an admin listener's answer may have, in bytes. */
const longest = 64 * 1024 * 1024;

/**
 * Asks the admin listener of a running process. `address` is `host:port`, a port, or an URL; undefined when it answers 404. Throws `MisuseError`
 * when nobody answers there, or not as an admin listener does.
 */
export async function askRunning(address: string, path: string): Promise<unknown> {
  const { host, port } = splitAddress(address);
  const { status, body } = await fetchText(host, port, path).catch((error: unknown) => {
    const why = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new MisuseError(
      `no admin listener answers at ${host}:${port} (${why}): start the process with createMesh({adminPort}) or ENMESH_ADMIN_PORT`,
    );
  });
  if (status === 404) return undefined;
  try {
    if (status === 200) return JSON.parse(body) as unknown;
  } catch {
    // Said below.
  }
  throw new MisuseError(`what answers at ${host}:${port} is no admin listener of enmesh (status ${status})`);
}

function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [, host = '127.0.0.1', port] = /^(?:http:\/\/)?(?:([\w.-]+|\[[\da-f:]+\]):)?(\d{1,5})\/?$/i.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new MisuseError(`${JSON.stringify(address)} is no address such as 127.0.0.1:15000`);
  return { host, port: Number(port) };
}

function fetchText(host: string, port: number, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((done, fail) => {
    const request = get(
      { host: host.replace(/[[\]]/g, ''), port, path, timeout: 5000, headers: { host: `${host}:${port}` } },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > longest) request.destroy(new Error('the answer is too long'));
          chunks.push(chunk);
        });
        response.on('error', fail);
        response.on('end', () => done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
      },
    );
    request.on('timeout', () => request.destroy(new Error('no answer within 5 seconds')));
    request.on('error', fail);
  });
}
