// Child processes of a benchmark, and what the kernel says they cost. Linux only: it reads /proc.

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'

export interface Usage {
  /** User and system time of all threads so far, seconds (nanosecond steps: schedstat). */
  cpuS: number
  /** Resident set, bytes. */
  residentBytes: number
}

/** Accounting of a process and its children (HAProxy and nginx fork workers). Threads that have ended count no more. */
export function usageOf(pid: number): Usage {
  const usage: Usage = { cpuS: 0, residentBytes: 0 }
  for (const each of withChildren(pid)) {
    try {
      for (const thread of readdirSync(`/proc/${each}/task`)) {
        usage.cpuS +=
          Number(readFileSync(`/proc/${each}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9
      }
      usage.residentBytes += Number(readFileSync(`/proc/${each}/statm`, 'utf8').split(' ')[1]) * 4096
    } catch {
      // It ended meanwhile: what it cost is in no figure.
    }
  }
  return usage
}

/** A process, its children and theirs. */
export function withChildren(pid: number): number[] {
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

/** Answers to what a `Worker` asks, by the name of the question. A rejection ends the process. */
export function serve(
  handlers: Readonly<Record<string, (question: never) => Promise<object> | object>>,
): void {
  // The bench has ended, as it should or not.
  process.once('disconnect', () => process.exit())
  process.on('message', async ({ id, name, question }: { id: number; name: string; question: never }) => {
    process.send!({ id, answer: await handlers[name]!(question) })
  })
}

/** A script of this folder in a process of its own, asked by messages and answered in turn or not. */
export class Worker {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(answer: never): void; reject(error: Error): void }>()
  #asked = 0

  constructor(script: string) {
    const file = fileURLToPath(new URL(script, import.meta.url))
    this.#child = fork(file, [], { serialization: 'advanced' })
    this.#child.on('message', ({ id, answer }: { id: number; answer: never }) => {
      this.#waiting.get(id)?.resolve(answer)
      this.#waiting.delete(id)
    })
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`${script} ended with ${code ?? signal} before it answered`))
      }
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  ask<T = object>(name: string, question: object = {}): Promise<T> {
    const id = ++this.#asked
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, question })
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#waiting.clear()
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}

export interface Program {
  pid: number
  stop(): Promise<void>
}

/** Starts a program and waits until it accepts on a loopback port. */
export async function startProgram(command: string, args: readonly string[], port: number): Promise<Program> {
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
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), 3000)
      await ended
      clearTimeout(killer)
    },
  }
}

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
