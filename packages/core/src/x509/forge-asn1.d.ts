// Only this part of node-forge is ever loaded, and @types/node-forge does not name it.
declare module 'node-forge/lib/asn1.js' {
  import type { asn1 } from 'node-forge';
  const value: typeof asn1;
  export default value;
}
