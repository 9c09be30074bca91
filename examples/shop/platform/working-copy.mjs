// The configuration directory that the running shop reads: the lessons of ../mesh and, beside them, registry.yaml.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const lessons = fileURLToPath(new URL('../mesh/', import.meta.url));

/**
 * Creates the directory. `lessons: 'linked'` shows every file of ../mesh in it, so that editing one there is obeyed; `'empty'` begins with the mesh's
 * own settings only. Files come and change by rename, as Kubernetes and careful editors do it: nobody ever reads half of one.
 */
export function createWorkingCopy({ show }) {
  const root = mkdtempSync(join(tmpdir(), 'enmesh-shop-'));
  const directory = join(root, 'mesh');
  mkdirSync(directory);
  if (show === 'linked') linkLessons(directory);
  else cpSync(join(lessons, 'enmesh', 'mesh.yaml'), join(directory, 'enmesh', 'mesh.yaml'));
  const put = (name, text) => {
    const next = join(root, 'next');
    writeFileSync(next, text);
    renameSync(next, join(directory, name));
  };
  const read = (name) => readFileSync(join(directory, name), 'utf8');
  return {
    directory,
    /** Where the development authority of this run lives. */
    identities: join(root, '.enmesh'),
    put,
    read,
    /** Puts a lesson in force as it stands in ../mesh. */
    teach: (name) => put(name, readFileSync(join(lessons, name), 'utf8')),
    /** Replaces one text of a file by another, as a person with an editor would. */
    edit(name, from, to) {
      const text = read(name);
      if (text.split(from).length !== 2) throw new Error(`${name} does not have \`${from}\` exactly once`);
      put(
        name,
        text.replace(from, () => to),
      );
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

function linkLessons(directory) {
  for (const name of readdirSync(lessons)) {
    // A registry of another run is not a lesson.
    if (name === 'registry.yaml') continue;
    try {
      symlinkSync(join(lessons, name), join(directory, name));
    } catch {
      // Windows keeps symbolic links to administrators: there, edit the copy.
      cpSync(join(lessons, name), join(directory, name), { recursive: true });
    }
  }
}
