export { createIstioIdentity } from './identity.js';
