// A Redis server for tests: on a loopback port of its own, with its data in a directory of its own, that can be stopped,
// frozen and started again.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { findOrInstall } from '../../src/dev/debian-package.ts'
import { freePort } from '../../src/dev/free-port.ts'

export class Redis {
  readonly port: number
  readonly #directory: string
  readonly #program: string
  readonly #args: readonly string[]
  #process: ChildProcess | undefined

  private constructor(program: string, port: number, directory: string, args: readonly string[]) {
    this.#program = program
    this.port = port
    this.#directory = directory
    this.#args = args
  }

  /** @param args further words of its command line, such as `--requirepass x` */
  static async start(args: readonly string[] = []): Promise<Redis> {
    const program = await findOrInstall('redis-server', 'redis-server', { log: console.log })
    const directory = await mkdtemp(join(tmpdir(), 'postern-redis-'))
    const redis = new Redis(program, await freePort(), directory, args)
    await redis.start()
    return redis
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const isTls = this.#args.includes('--tls-cert-file')
    const port = isTls ? ['--port', '0', '--tls-port', String(this.port)] : ['--port', String(this.port)]
    const keep = ['--dir', this.#directory, '--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
    const child = spawn(this.#program, [...port, '--bind', '127.0.0.1', ...keep, ...this.#args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#process = child
    for await (const line of createInterface(child.stdout)) {
      if (line.includes('Ready to accept connections')) {
        child.stdout.resume()
        return
      }
    }
    throw new Error('redis-server has ended before it was ready')
  }

  /** What was written stays for the next start. */
  async stop(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill('SIGKILL')
    await ended
  }

  /** Its connections stay, and nobody answers on them. */
  freeze(): void {
    this.#process!.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process!.kill('SIGCONT')
  }

  async remove(): Promise<void> {
    await this.stop()
    await rm(this.#directory, { recursive: true, force: true })
  }
}
