// The proxies that Postern is compared with: found on this machine, or installed from the distribution's packages.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { findExecutable } from '../src/dev/mosquitto-install.ts'

const run = promisify(execFile)

/** Program -> packages of Debian and Ubuntu. */
const PACKAGES = new Map([
  ['haproxy', ['haproxy']],
  ['nginx', ['nginx', 'libnginx-mod-stream']],
])

/**
 * Makes sure that the programs are on this machine: installs what is missing with `apt-get`, as root or through
 * `sudo -n`, and stops the services that the packages start.
 *
 * @returns those that could not be installed, with the reason; they are left out of the tables
 */
export async function installPrograms(log: (line: string) => void): Promise<Map<string, string>> {
  const missing = new Map<string, string>()
  for (const [program, packages] of PACKAGES) {
    if ((await findExecutable(program)) !== undefined) continue
    log(`${program} is missing: installing ${packages.join(' and ')} with apt-get …`)
    try {
      await install(packages)
      await stopService(program)
    } catch (error) {
      missing.set(
        program,
        `${program} cannot be installed: ${String((error as Error).message).split('\n')[0]}`,
      )
    }
  }
  return missing
}

async function install(packages: readonly string[]): Promise<void> {
  const words = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', '-q']
  const command = [...words, '--no-install-recommends', ...packages]
  try {
    await asRoot(command)
  } catch {
    // A fresh image has no package lists; a machine that has them is spared the download.
    await asRoot(['apt-get', 'update', '-q'])
    await asRoot(command)
  }
}

async function stopService(program: string): Promise<void> {
  const command = existsSync('/run/systemd/system')
    ? ['systemctl', 'disable', '--now', program]
    : ['service', program, 'stop']
  await asRoot(command).catch(() => {})
}

function asRoot(command: readonly string[]): Promise<unknown> {
  const words = process.getuid?.() === 0 ? command : ['sudo', '-n', ...command]
  return run(words[0]!, words.slice(1), { maxBuffer: 16 * 2 ** 20 })
}
