import { expect, it } from 'vitest';
import { productionSign } from './environment.js';

it.each([
  [{ NODE_ENV: 'production' }, /NODE_ENV/],
  [{ NODE_ENV: ' Production ' }, /NODE_ENV/],
  [{ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, /Kubernetes/],
  [{ ECS_CONTAINER_METADATA_URI: 'http://169.254.170.2/v3' }, /ECS/],
  [{ ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4' }, /ECS/],
  [{ K_SERVICE: 'shop' }, /Cloud Run/],
  [{ CLOUD_RUN_JOB: 'shop' }, /Cloud Run/],
  [{ AWS_LAMBDA_FUNCTION_NAME: 'shop' }, /Lambda/],
])('sees production in %o and says by what', (env, sign) => {
  expect(productionSign(env)).toMatch(sign);
});

it.each([{}, { NODE_ENV: 'test' }, { NODE_ENV: 'development', K_SERVICE: '' }])('sees a laptop in %o', (env) => {
  expect(productionSign(env)).toBeUndefined();
});
