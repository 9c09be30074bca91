import { createMesh } from '@enmesh/core';
const { fetch } = await createMesh(); // in place of the global fetch; mesh.agent is for axios and got, mesh.dispatcher for undici

const answer = await fetch('http://hello.demo.svc.cluster.local/hello');
console.log(answer.status, await answer.text());
