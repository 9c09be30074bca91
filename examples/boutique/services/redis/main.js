// The store of the carts (node:http), like a small Redis.
import { serve } from '../../common.js';

const carts = new Map();

await serve(({ route, body }) => {
  const [method, path] = route.split(' ');
  if (!path.startsWith('/carts/')) return undefined;
  if (method === 'PUT') carts.set(path, body);
  if (method === 'DELETE') carts.delete(path);
  return carts.get(path) ?? [];
});
