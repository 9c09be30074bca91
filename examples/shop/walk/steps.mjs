// The walk: eleven steps through what a mesh does, each on the shop as the one before left it.
import { openStep } from './steps/01-open.mjs';
import { permissiveStep } from './steps/02-permissive.mjs';
import { strictStep } from './steps/03-strict.mjs';
import { exceptionStep } from './steps/04-exception.mjs';
import { secureNamingStep } from './steps/05-secure-naming.mjs';
import { foreignStep } from './steps/06-foreign.mjs';
import { usersStep } from './steps/07-users.mjs';
import { policiesStep } from './steps/08-policies.mjs';
import { tokenStep } from './steps/09-token.mjs';
import { editsStep } from './steps/10-edits.mjs';
import { togetherStep } from './steps/11-together.mjs';

/** Each step: `title`, and `run({world, check, note})`, which decides nothing: it asks, and compares. */
export const steps = [
  openStep,
  permissiveStep,
  strictStep,
  exceptionStep,
  secureNamingStep,
  foreignStep,
  usersStep,
  policiesStep,
  tokenStep,
  editsStep,
  togetherStep,
];
