import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { printedFile, substitute } from './support/page.js';
import { findProgram, startProgram, type Running } from './support/programs.js';
import { describeProxy, type TlsVersion } from './support/proxy-scenarios.js';

const program = findProgram('nginx', '-v');

// `findProgram` has said in one line that it is absent, or failed where it is required.
if (program === undefined) describe.skip('nginx', () => it('is absent', () => undefined));
else {
  /** Runs in the foreground, with everything that it writes below the directory. */
  const start = (directory: string, config: string): Running => {
    mkdirSync(directory, { recursive: true });
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${directory}/${kind};`,
    );
    const path = join(directory, 'nginx.conf');
    writeFileSync(path, config.replace('http {', `http { access_log off; ${temporary.join(' ')}`));
    const global = `daemon off; user root; worker_processes 1; error_log stderr; pid ${directory}/pid;`;
    return startProgram(program, ['-p', directory, '-e', 'stderr', '-c', path, '-g', global]);
  };
  const all = 'TLSv1.2 TLSv1.3';
  const only = (text: string, version: TlsVersion | undefined): string =>
    version === undefined ? text : substitute(text, { [all]: `TLSv${version}` });

  describeProxy(
    {
      name: 'nginx',
      program,
      startFront({ directory, port, servicePort, files, only: version }) {
        const config = substitute(printedFile('examples/identity/front/nginx.conf'), {
          '127.0.0.1:8443': `127.0.0.1:${servicePort}`,
          'listen 8080': `listen 127.0.0.1:${port}`,
          '/etc/nginx/svid/tls.crt': files.cert,
          '/etc/nginx/svid/tls.key': files.key,
          '/etc/nginx/svid/ca.crt': files.roots,
        });
        return start(directory, only(config, version));
      },
      startServer({ directory, port, files, only: version }) {
        const config = `events {}
http {
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_protocols ${all};
    ssl_certificate ${files.cert};
    ssl_certificate_key ${files.key};
    ssl_client_certificate ${files.roots};
    ssl_verify_client on;
    ssl_verify_depth 3;
    location / { return 200 "$ssl_client_verify"; }
  }
}
`;
        return start(directory, only(config, version));
      },
      // nginx has no variable for a URI of the certificate.
      peerOf: (body) => body,
    },
    'SUCCESS',
  );
}
