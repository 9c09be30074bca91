import type { Findings } from './findings.js';

/** What is left to do by hand: packages to install and the lines for the framework that was found. */
export function instructionsFor({ framework, isCommonJs }: Findings): string {
  const packages = { express: '@enmesh/core @enmesh/express', fastify: '@enmesh/core @enmesh/fastify', node: '@enmesh/core' };
  const lines = isCommonJs ? commonJs[framework] : esModule[framework];
  return `Install:\n\n  npm install ${packages[framework]}\n\nAdd where the server is made:\n\n${indent(lines)}\nAnd to .gitignore:\n\n  .enmesh/\n`;
}

const express = `const app = express();
app.use(enmesh(mesh)); // req.enmesh: { peer, user, decision }
await listen(mesh, app, 8080); // instead of app.listen(8080)
`;

const fastify = `const app = fastify({ serverFactory: serverFactory(mesh) });
await app.register(enmesh, { mesh }); // request.enmesh: { peer, user, decision }
await app.listen({ port: 8080 });
`;

const node = `const server = mesh.createServer((req, res) => res.end('hello')); // instead of http.createServer
server.listen(8080);
`;

const imports = {
  express: ["import { enmesh, listen } from '@enmesh/express';", "const { enmesh, listen } = require('@enmesh/express');"],
  fastify: [
    "import { enmesh, serverFactory } from '@enmesh/fastify';",
    "const { enmesh, serverFactory } = require('@enmesh/fastify');",
  ],
  node: [],
} as const;

const bodies = { express, fastify, node };

type Lines = Readonly<Record<Findings['framework'], string>>;

const each = (build: (framework: Findings['framework']) => string): Lines => ({
  express: build('express'),
  fastify: build('fastify'),
  node: build('node'),
});

const join = (...lines: readonly (string | undefined)[]): string => lines.filter((line) => line !== undefined).join('\n');

const esModule = each((framework) =>
  join(
    "import { createMesh } from '@enmesh/core';",
    imports[framework][0],
    '',
    'const mesh = await createMesh();',
    bodies[framework],
  ),
);

// CommonJS has no await at the top of a file.
const commonJs = each((framework) =>
  join(
    "const { createMesh } = require('@enmesh/core');",
    imports[framework][1],
    '',
    'async function start() {',
    indent(`const mesh = await createMesh();\n${bodies[framework]}`).trimEnd(),
    '}',
    'start();',
    '',
  ),
);

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
