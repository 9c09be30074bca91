// What a platform puts into the environment of every process that it runs.
const platforms: readonly (readonly [variable: string, platform: string])[] = [
  ['KUBERNETES_SERVICE_HOST', 'Kubernetes'],
  ['ECS_CONTAINER_METADATA_URI', 'Amazon ECS'],
  ['ECS_CONTAINER_METADATA_URI_V4', 'Amazon ECS'],
  ['K_SERVICE', 'Cloud Run'],
  ['CLOUD_RUN_JOB', 'Cloud Run'],
  ['AWS_LAMBDA_FUNCTION_NAME', 'AWS Lambda'],
];

/** Why this does not look like a laptop, in words for a person, or undefined when it does. `env` is `process.env` or the like. */
export function productionSign(env: Readonly<Record<string, string | undefined>>): string | undefined {
  if (env.NODE_ENV?.trim().toLowerCase() === 'production') return 'NODE_ENV is production';
  const found = platforms.find(([variable]) => env[variable] !== undefined && env[variable] !== '');
  return found === undefined ? undefined : `${found[0]} is set, so this is ${found[1]}`;
}
