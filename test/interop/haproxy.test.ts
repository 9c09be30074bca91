import { X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { printedFile, substitute } from './support/page.js';
import { findProgram, startProgram, type Running } from './support/programs.js';
import { describeProxy, type TlsVersion } from './support/proxy-scenarios.js';

const program = findProgram('haproxy', '-v');

// `findProgram` has said in one line that it is absent, or failed where it is required.
if (program === undefined) describe.skip('HAProxy', () => it('is absent', () => undefined));
else {
  const start = (directory: string, config: string): Running => {
    mkdirSync(directory, { recursive: true });
    const path = join(directory, 'haproxy.cfg');
    writeFileSync(path, config);
    return startProgram(program, ['-db', '-q', '-f', path]);
  };
  const only = (version: TlsVersion | undefined): string =>
    version === undefined ? '' : ` ssl-min-ver TLSv${version} ssl-max-ver TLSv${version}`;

  describeProxy(
    {
      name: 'haproxy',
      program,
      startFront({ directory, port, servicePort, files, only: version }) {
        const config = substitute(printedFile('examples/identity/front/haproxy.cfg'), {
          'bind :8080': `bind 127.0.0.1:${port}`,
          '127.0.0.1:8443': `127.0.0.1:${servicePort}`,
          '/etc/haproxy/svid.pem': files.both,
          '/etc/haproxy/roots.pem': files.roots,
          ' no-ssl-reuse': ` no-ssl-reuse${only(version)}`,
        });
        return start(directory, config);
      },
      startServer({ directory, port, files, only: version }) {
        const config = `defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend mesh
  bind 127.0.0.1:${port} ssl crt ${files.both} ca-file ${files.roots} verify required${only(version)}
  http-request return status 200 content-type text/plain lf-string "%[ssl_c_der,base64]"
`;
        return start(directory, config);
      },
      peerOf: (body) => new X509Certificate(Buffer.from(body, 'base64')).subjectAltName ?? '',
    },
    'URI:spiffe://cluster.local/ns/shop/sa/gateway',
  );
}
