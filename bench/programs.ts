// The proxies that Postern is compared with: found on this machine, or installed from the distribution's packages.

import { findExecutable, installWithApt } from '../src/dev/debian-package.ts'
import { PosternError } from '../src/errors.ts'

/** Program, which is also the name of its service -> packages of Debian and Ubuntu. */
const PACKAGES = new Map([
  ['haproxy', ['haproxy']],
  ['nginx', ['nginx', 'libnginx-mod-stream']],
])

/**
 * Makes sure that the programs are on this machine.
 *
 * @returns those that could not be installed, with the reason; they are left out of the tables
 */
export async function installPrograms(log: (line: string) => void): Promise<Map<string, string>> {
  const missing = new Map<string, string>()
  for (const [program, packages] of PACKAGES) {
    if ((await findExecutable(program)) !== undefined) continue
    log(`${program} is missing: installing ${packages.join(' and ')} with apt-get …`)
    try {
      await installWithApt(
        packages,
        program,
        (sentence) => new PosternError('ERR_TOOL_MISSING', 'internal', `${program}: ${sentence}`),
      )
    } catch (error) {
      missing.set(program, (error as Error).message)
    }
  }
  return missing
}
