// Reads and validates one configuration directory in a process of its own and tells what came of it, what processor time it took and the most memory it held.
import { createDirectorySource, validateDocuments } from '@enmesh/core/config';

const mebibyte = 1024 * 1024;
const before = process.resourceUsage().maxRSS * 1024;
const start = process.cpuUsage();
let said;
try {
  const { resources, problems } = validateDocuments(await createDirectorySource({ path: process.argv[2] }).read());
  const errors = problems.filter(({ level }) => level === 'error');
  said = { accepted: resources !== undefined, code: errors[0]?.code, message: errors[0]?.message, errors: errors.length };
} catch (error) {
  said = { accepted: false, code: error.code, message: error.message, errors: 1 };
}
const { user, system } = process.cpuUsage(start);
const ms = (user + system) / 1000;
const peak = process.resourceUsage().maxRSS * 1024;
console.log(
  JSON.stringify({
    ...said,
    ms: Math.round(ms),
    mib: Math.round((peak - before) / mebibyte),
    peakMib: Math.round(peak / mebibyte),
  }),
);
