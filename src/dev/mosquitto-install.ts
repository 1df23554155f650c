// Finds Mosquitto on this machine, or installs the distribution's package, for the demo and the tests.
// A broker service that was there before is never touched; one that our installation started is stopped.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { PosternError } from '../errors.ts'

const run = promisify(execFile)

/** Debian puts the broker in /usr/sbin, Homebrew in its own prefix: neither is on every user's PATH. */
const MORE_DIRECTORIES =
  '/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin:/opt/homebrew/bin:/opt/homebrew/sbin'
/** Unix socket listeners and loopback-only defaults came with 2.0. */
const OLDEST_MAJOR = 2
const BY_HAND =
  'Install Mosquitto 2.0 or newer by hand (https://mosquitto.org/download/) so that `mosquitto` is on the PATH, then try again.'

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
 * The path of a Mosquitto broker, which is installed first when it is missing: Debian and Ubuntu by `apt-get` (as
 * root, or through `sudo -n`), macOS by `brew`. Not for several processes at a time.
 *
 * @param options.log gets one line before anything is installed.
 * @throws PosternError `ERR_BROKER_MISSING`, with a sentence that says what to do.
 */
export async function findOrInstallMosquitto(options: { log: (line: string) => void }): Promise<string> {
  const found = await findExecutable('mosquitto')
  if (found !== undefined) return checkVersion(found)
  if ((await findExecutable('apt-get')) !== undefined) await installWithApt(options.log)
  else if ((await findExecutable('brew')) !== undefined) {
    options.log('Mosquitto is missing: installing it with `brew install mosquitto` …')
    await attempt('brew', ['install', 'mosquitto'])
  } else {
    throw missing(`Mosquitto is missing, and there is neither apt-get nor brew here. ${BY_HAND}`)
  }
  const installed = await findExecutable('mosquitto')
  if (installed === undefined) throw missing(`Mosquitto is still missing after its installation. ${BY_HAND}`)
  return checkVersion(installed)
}

async function installWithApt(log: (line: string) => void): Promise<void> {
  const root = process.getuid?.() === 0
  if (!root && !(await succeeds('sudo', ['-n', 'true']))) {
    throw missing(
      'Mosquitto is missing, and installing it needs root. Run `sudo apt-get install -y mosquitto mosquitto-clients`, then try again.',
    )
  }
  log('Mosquitto is missing: installing the packages mosquitto and mosquitto-clients with apt-get …')
  const asRoot = (...words: string[]): [string, string[]] =>
    root ? [words[0]!, words.slice(1)] : ['sudo', ['-n', ...words]]
  const install = asRoot(
    ...['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', '-q', '--no-install-recommends'],
    ...['mosquitto', 'mosquitto-clients'],
  )
  // A fresh image has no package lists; a machine that has them is spared the download.
  if (!(await succeeds(...install))) {
    await attempt(...asRoot('apt-get', 'update', '-q'))
    await attempt(...install)
  }
  // The package starts and enables a broker on port 1883 that nobody asked for.
  if (existsSync('/run/systemd/system'))
    await succeeds(...asRoot('systemctl', 'disable', '--now', 'mosquitto'))
  else if (existsSync('/etc/init.d/mosquitto')) await succeeds(...asRoot('service', 'mosquitto', 'stop'))
}

/** `mosquitto -h` prints `mosquitto version 2.0.11` and ends with an exit code of its own. */
async function checkVersion(executable: string): Promise<string> {
  const output = await run(executable, ['-h']).then(
    ({ stdout }) => stdout,
    (error: { stdout?: string }) => error.stdout ?? '',
  )
  const version = /version (\d+)\.\d+/.exec(output)
  if (version !== null && Number(version[1]) >= OLDEST_MAJOR) return executable
  throw missing(`${executable} is not Mosquitto 2.0 or newer. ${BY_HAND}`)
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, [...args], { maxBuffer: 16 * 2 ** 20 }).then(
    () => true,
    () => false,
  )
}

async function attempt(command: string, args: readonly string[]): Promise<void> {
  try {
    await run(command, [...args], { maxBuffer: 16 * 2 ** 20 })
  } catch (cause) {
    const words = [command, ...args].join(' ')
    const last = String((cause as { stderr?: unknown }).stderr ?? '')
      .trim()
      .split('\n')
      .at(-1)
    throw missing(`\`${words}\` failed${last ? `: ${last}` : ''}. ${BY_HAND}`, cause)
  }
}

function missing(message: string, cause?: unknown): PosternError {
  return new PosternError('ERR_BROKER_MISSING', 'internal', message, cause === undefined ? {} : { cause })
}
