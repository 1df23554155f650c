// Finds Mosquitto on this machine, or installs the distribution's package, for the demo and the tests.
// A broker service that was there before is never touched; one that our installation started is stopped.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { PosternError } from '../errors.ts'
import { attempt, findExecutable, installWithApt } from './debian-package.ts'

const run = promisify(execFile)

/** Unix socket listeners and loopback-only defaults came with 2.0. */
const OLDEST_MAJOR = 2
const BY_HAND =
  'Install Mosquitto 2.0 or newer by hand (https://mosquitto.org/download/) so that `mosquitto` is on the PATH, then try again.'

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
  const failed = (sentence: string, cause?: unknown): PosternError =>
    missing(`Mosquitto is missing; ${sentence}. ${BY_HAND}`, cause)
  if ((await findExecutable('apt-get')) !== undefined) {
    options.log(
      'Mosquitto is missing: installing the packages mosquitto and mosquitto-clients with apt-get …',
    )
    await installWithApt(['mosquitto', 'mosquitto-clients'], 'mosquitto', failed)
  } else if ((await findExecutable('brew')) !== undefined) {
    options.log('Mosquitto is missing: installing it with `brew install mosquitto` …')
    await attempt(['brew', ['install', 'mosquitto']], failed)
  } else {
    throw missing(`Mosquitto is missing, and there is neither apt-get nor brew here. ${BY_HAND}`)
  }
  const installed = await findExecutable('mosquitto')
  if (installed === undefined) throw missing(`Mosquitto is still missing after its installation. ${BY_HAND}`)
  return checkVersion(installed)
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

function missing(message: string, cause?: unknown): PosternError {
  return new PosternError('ERR_BROKER_MISSING', 'internal', message, cause === undefined ? {} : { cause })
}
