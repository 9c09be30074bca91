export { createSpiffeIdentity, type SpiffeIdentityOptions } from './identity.js';
