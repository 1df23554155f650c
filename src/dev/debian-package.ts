// Finds programs on this machine, or installs the packages of the distribution that hold them, for the demo and the
// tests. A service that was there before is never touched; one that our installation started is stopped.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { PosternError } from '../errors.ts'

const run = promisify(execFile)

/** Debian puts servers in /usr/sbin, Homebrew in its own prefix: neither is on every user's PATH. */
const MORE_DIRECTORIES =
  '/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin:/opt/homebrew/bin:/opt/homebrew/sbin'

/** Absolute path of a program on the PATH or in the usual places of servers; undefined: not there. */
export async function findExecutable(name: string): Promise<string | undefined> {
  const script = `PATH="$PATH:${MORE_DIRECTORIES}"; command -v "$1"`
  try {
    const { stdout } = await run('sh', ['-c', script, 'sh', name])
    return stdout.trim() || undefined
  } catch {
    return undefined
  }
}

/**
 * Installs packages by `apt-get`, as root or through `sudo -n`. Not for several processes at a time.
 *
 * @param service a service that the packages start and that nobody asked for: it is stopped
 * @param failed makes the error from a sentence and its cause
 * @throws what `failed` makes
 */
export async function installWithApt(
  packages: readonly string[],
  service: string,
  failed: (sentence: string, cause?: unknown) => PosternError,
): Promise<void> {
  const root = process.getuid?.() === 0
  if (!root && !(await succeeds('sudo', ['-n', 'true']))) {
    throw failed(`needs root: run \`sudo apt-get install -y ${packages.join(' ')}\`, then try again`)
  }
  const asRoot = (...words: string[]): [string, string[]] =>
    root ? [words[0]!, words.slice(1)] : ['sudo', ['-n', ...words]]
  const install = asRoot(
    ...['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', '-q', '--no-install-recommends'],
    ...packages,
  )
  // A fresh image has no package lists; a machine that has them is spared the download.
  if (!(await succeeds(...install))) {
    await attempt(asRoot('apt-get', 'update', '-q'), failed)
    await attempt(install, failed)
  }
  if (existsSync('/run/systemd/system')) await succeeds(...asRoot('systemctl', 'disable', '--now', service))
  else if (existsSync(`/etc/init.d/${service}`)) await succeeds(...asRoot('service', service, 'stop'))
}

/**
 * The path of a program; on Debian and Ubuntu its package is installed when it is missing.
 *
 * @param options.log gets one line before anything is installed
 * @throws PosternError `ERR_TOOL_MISSING`
 */
export async function findOrInstall(
  program: string,
  debianPackage: string,
  options: { log: (line: string) => void },
): Promise<string> {
  const found = await findExecutable(program)
  if (found !== undefined) return found
  const failed = (sentence: string, cause?: unknown): PosternError =>
    new PosternError('ERR_TOOL_MISSING', 'internal', `${program} is missing; ${sentence}.`, { cause })
  if ((await findExecutable('apt-get')) === undefined) throw failed('there is no apt-get here to install it')
  options.log(`${program} is missing: installing the package ${debianPackage} with apt-get …`)
  await installWithApt([debianPackage], debianPackage, failed)
  const installed = await findExecutable(program)
  if (installed === undefined) throw failed('it is still missing after its installation')
  return installed
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, [...args], { maxBuffer: 16 * 2 ** 20 }).then(
    () => true,
    () => false,
  )
}

export async function attempt(
  [command, args]: [string, string[]],
  failed: (sentence: string, cause?: unknown) => PosternError,
): Promise<void> {
  try {
    await run(command, args, { maxBuffer: 16 * 2 ** 20 })
  } catch (cause) {
    const words = [command, ...args].join(' ')
    const last = String((cause as { stderr?: unknown }).stderr ?? '')
      .trim()
      .split('\n')
      .at(-1)
    throw failed(`\`${words}\` failed${last ? `: ${last}` : ''}`, cause)
  }
}
