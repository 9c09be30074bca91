/**
 * docs/errors.md: the error table of @enmesh/core as a page, grouped by the folder that a code names.
 * @param {Readonly<Record<string, {status: number, public: string, meaning: string, remedy: string}>>} errorTable
 * @returns {string}
 */
export function renderErrors(errorTable) {
  const folders = groupByFolder(Object.keys(errorTable));
  const sections = [...folders.keys()].sort().map((folder) => {
    const entries = [...folders.get(folder)].sort().map((code) => entry(code, errorTable[code]));
    return `## ${folder}\n\n${entries.join('\n')}`;
  });
  return `${head}\n${sections.join('\n')}`;
}

const head = `<!-- Generated from packages/core/src/errors.ts by \`npm run docs\`. Do not edit. -->

# Errors

Every error that enmesh throws or reports is an \`EnmeshError\` with one of these codes. The client of a refused request gets the status, and at most the
public sentence and a decision id; the reason goes to standard error and to the diagnostics channels \`enmesh:denied\` and \`enmesh:notice\`.
`;

function entry(code, { status, public: sentence, meaning, remedy }) {
  return `### ${code}\n\n${meaning}\n\n- Remedy: ${remedy}\n- To a client: ${status}, “${sentence}”\n`;
}

const folderOf = (code) => code.split('_')[1].toLowerCase();

function groupByFolder(codes) {
  const groups = new Map();
  for (const code of codes) groups.set(folderOf(code), [...(groups.get(folderOf(code)) ?? []), code]);
  return groups;
}
