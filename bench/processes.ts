// Child processes of a benchmark, and what the kernel says they cost.

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'

export interface Usage {
  /** User and system time of all threads, seconds, to the nanosecond (Linux schedstat). */
  cpuS: number
  /** Resident set, bytes. */
  residentBytes: number
}

/** Accounting of a process and its children (HAProxy and nginx fork workers). */
export function usageOf(pid: number): Usage {
  let cpuNs = 0
  let residentBytes = 0
  for (const each of withChildren(pid)) {
    try {
      for (const thread of readdirSync(`/proc/${each}/task`)) {
        cpuNs += Number(readFileSync(`/proc/${each}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
      }
      const pages = readFileSync(`/proc/${each}/statm`, 'utf8').split(' ')[1]
      residentBytes += Number(pages) * 4096
    } catch {
      // It ended meanwhile: what it cost is in no figure.
    }
  }
  return { cpuS: cpuNs / 1e9, residentBytes }
}

function withChildren(pid: number): number[] {
  const found = [pid]
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
      for (const child of children.split(' ').filter(Boolean)) found.push(...withChildren(Number(child)))
    }
  } catch {
    // As above.
  }
  return found
}

/** A script of this folder in a process of its own, spoken to by messages. */
export class Worker {
  readonly #child: ChildProcess
  readonly #waiting = new Map<string, (message: never) => void>()
  readonly #arrived = new Map<string, unknown>()

  constructor(script: string, args: readonly string[] = []) {
    this.#child = fork(fileURLToPath(new URL(script, import.meta.url)), args, { serialization: 'advanced' })
    this.#child.on('message', (message: { type: string }) => {
      const resolve = this.#waiting.get(message.type)
      this.#waiting.delete(message.type)
      if (resolve === undefined) this.#arrived.set(message.type, message)
      else resolve(message as never)
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  send(message: object): void {
    this.#child.send(message)
  }

  /** The next message of a type. */
  receive<T>(type: string): Promise<T> {
    const early = this.#arrived.get(type)
    this.#arrived.delete(type)
    if (early !== undefined) return Promise.resolve(early as T)
    return new Promise((resolve, reject) => {
      this.#waiting.set(type, resolve)
      this.#child.once('exit', (code) => reject(new Error(`worker ended (${code}) before ${type}`)))
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}

/** A program under test. */
export async function startProgram(
  command: string,
  args: readonly string[],
  port: number,
): Promise<{ pid: number; stop(): Promise<void> }> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (data: Buffer) => {
    if (errors.length < 4096) errors += data.toString()
  })
  await answering(port, () => (child.exitCode === null ? undefined : errors))
  return {
    pid: child.pid!,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** Waits until something accepts on a loopback port. */
async function answering(port: number, ended: () => string | undefined): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const why = ended()
    if (why !== undefined) throw new Error(`the program ended before it listened: ${why}`)
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      socket.destroy()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  throw new Error(`nothing answers on port ${port}`)
}
