// Runs a stock Mosquitto for the demo and the tests: private configuration, loopback or Unix socket only, gone with
// the process that started it. Not part of the proxy; only cmd/ and test/ may import it.
// Configuration keys: mosquitto.conf(5).
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Clock, systemClock, type Timer } from '../clock.ts'
import { PosternError } from '../errors.ts'
import { findExecutable } from './debian-package.ts'
import { freePort } from './free-port.ts'

export interface BrokerOptions {
  /** Further lines of mosquitto.conf. A `log_type` line must leave `information` in: readiness is read from the log. */
  conf?: readonly string[]
  /** Listen on a Unix socket too. */
  unixSocket?: boolean
  /** User names and passwords; anonymous clients are refused then. Absent: anonymous clients only. */
  users?: Readonly<Record<string, string>>
  /** Directory that keeps sessions and retained messages over a restart. Absent: memory only. */
  persistence?: string
  /** To come back on the port of an earlier broker. Absent: any free port. */
  port?: number
  /** How long the broker may take to start, milliseconds; default 20 000. */
  startTimeout?: number
  clock?: Clock
}

export interface Broker {
  host: string
  port: number
  /** Unix socket; undefined unless asked for. */
  path: string | undefined
  pid: number
  /** Lines of Mosquitto's log so far; grows. */
  log: readonly string[]
  /** Resolves with the first line that matches, past or future; rejects when the broker ends before. */
  logged(pattern: RegExp): Promise<string>
  /** Exit code, or -1 after a signal. */
  exited: Promise<number>
  /** Ends the broker (SIGTERM: a persistent one saves its state) and removes its files. Idempotent. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 20_000
/** A free port may be taken between our asking and the broker's bind. */
const PORT_TRIES = 5
const SIGTERM_AGAIN_MS = 100

/**
 * Starts a broker and waits until it accepts connections.
 *
 * @throws PosternError `ERR_BROKER_MISSING` without Mosquitto on this machine, `ERR_BROKER_START` with the broker's
 *   own last lines when it ends or hangs.
 */
export async function startMosquitto(options: BrokerOptions = {}): Promise<Broker> {
  const executable = await findExecutable('mosquitto')
  if (executable === undefined) {
    throw new PosternError('ERR_BROKER_MISSING', 'internal', 'Mosquitto is not installed on this machine.')
  }
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort())
    const broker = await launch(executable, port, options)
    if (await broker.ready) return broker.broker
    const lines = broker.broker.log.slice(-5)
    await broker.broker.stop()
    const taken = lines.some((line) => line.includes('Address already in use'))
    if (!taken || options.port !== undefined || tries === PORT_TRIES) {
      throw new PosternError('ERR_BROKER_START', 'server', `Mosquitto did not start: ${lines.join(' | ')}`)
    }
  }
}

async function launch(
  executable: string,
  port: number,
  options: BrokerOptions,
): Promise<{ broker: Broker; ready: Promise<boolean> }> {
  const clock = options.clock ?? systemClock
  const directory = await mkdtemp(join(tmpdir(), 'postern-mosquitto-'))
  const path = options.unixSocket === true ? join(directory, 'broker.sock') : undefined
  const conf = join(directory, 'mosquitto.conf')
  await writeFile(conf, `${(await confLines(directory, port, path, options)).join('\n')}\n`)
  // Its own process group: Ctrl-C in a terminal reaches us first, and we end the broker in order.
  const child = spawn(executable, ['-c', conf], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  const watchdog = startWatchdog(child, directory)

  const log: string[] = []
  const waiting = new Set<{ pattern: RegExp; resolve: (line: string) => void; reject: (e: Error) => void }>()
  const lines = createInterface({ input: child.stderr })
  lines.on('line', (line) => {
    log.push(line)
    for (const wait of waiting) {
      if (!wait.pattern.test(line)) continue
      waiting.delete(wait)
      wait.resolve(line)
    }
  })
  const exited = once(child, 'exit').then(
    ([code]) => (typeof code === 'number' ? code : -1),
    () => -1,
  )
  // After `close` the log is complete, so that a waiter cannot miss the last line.
  let ended = false
  lines.once('close', () => {
    ended = true
    for (const wait of waiting) wait.reject(new Error(`Mosquitto ended before it logged ${wait.pattern}`))
    waiting.clear()
  })
  const logged = (pattern: RegExp): Promise<string> => {
    const past = log.find((line) => pattern.test(line))
    if (past !== undefined) return Promise.resolve(past)
    if (ended) {
      return Promise.reject(new Error(`Mosquitto ended before it logged ${pattern}`))
    }
    return new Promise((resolve, reject) => waiting.add({ pattern, resolve, reject }))
  }
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= end(child, exited, watchdog, directory, clock)
    return stopping
  }
  const timeout = clock.after(options.startTimeout ?? START_TIMEOUT_MS, () => {
    log.push('no sign of life within the start timeout')
    child.kill('SIGKILL')
  })
  const ready = logged(/^mosquitto version \S+ running/)
    .then(
      () => true,
      () => false,
    )
    .finally(() => timeout.cancel())
  return { broker: { host: HOST, port, path, pid: child.pid ?? 0, log, logged, exited, stop }, ready }
}

async function confLines(
  directory: string,
  port: number,
  path: string | undefined,
  options: BrokerOptions,
): Promise<string[]> {
  const lines = [
    'log_dest stderr',
    'log_timestamp false',
    // Started as root, Mosquitto changes to the user `mosquitto`, who may not read our directory.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    `listener ${port} ${HOST}`,
    ...(path === undefined ? [] : [`listener 0 ${path}`]),
    `allow_anonymous ${options.users === undefined}`,
  ]
  if (options.users !== undefined) {
    lines.push(`password_file ${await writePasswords(directory, options.users)}`)
  }
  if (options.persistence !== undefined) {
    lines.push('persistence true', `persistence_location ${join(options.persistence, '/')}`)
  }
  lines.push(...(options.conf ?? []))
  return lines
}

/** `mosquitto_passwd -U` hashes a file of clear-text lines in place, so that no password is on a command line. */
async function writePasswords(directory: string, users: Readonly<Record<string, string>>): Promise<string> {
  const file = join(directory, 'passwords')
  const text = Object.entries(users).map(([user, password]) => `${user}:${password}\n`)
  await writeFile(file, text.join(''), { mode: 0o600 })
  const tool = (await findExecutable('mosquitto_passwd')) ?? 'mosquitto_passwd'
  const child = spawn(tool, ['-U', file], { stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new PosternError('ERR_BROKER_START', 'internal', 'mosquitto_passwd -U failed.')
  await chmod(file, 0o600)
  return file
}

/** However we end, even by SIGKILL: end of file on its standard input makes this shell end the broker. */
function startWatchdog(child: ChildProcess, directory: string): ChildProcess {
  const script = 'cat >/dev/null; kill "$1" 2>/dev/null; rm -rf "$2"'
  const watchdog = spawn('sh', ['-c', script, 'sh', String(child.pid), directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watchdog.unref()
  ;(watchdog.stdin as Socket).unref()
  return watchdog
}

async function end(
  child: ChildProcess,
  exited: Promise<number>,
  watchdog: ChildProcess,
  directory: string,
  clock: Clock,
): Promise<void> {
  let again: Timer | undefined
  const ask = (): void => {
    child.kill('SIGTERM')
    // A test may have halted it; a halted process does not see SIGTERM.
    child.kill('SIGCONT')
    // One that comes between its line "running" and its main loop is forgotten.
    again = clock.after(SIGTERM_AGAIN_MS, ask)
  }
  ask()
  await exited
  again?.cancel()
  watchdog.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
}
