export { createGrpcAuthorizer } from './authorizer.js';
