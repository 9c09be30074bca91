export * from './authority.js';
export * from './clock.js';
export * from './issuer.js';
