// The command as its user meets it: a process with arguments, an environment, output and an exit code.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const COMMAND = fileURLToPath(new URL('../../cmd/postern.ts', import.meta.url))
/** Halves the time of a start. */
const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/postern-compile', import.meta.url))
/** How long a test waits for a line or an exit before it fails, milliseconds. */
const PATIENCE_MS = 15_000

export interface ChildOptions {
  /** The command of a RunningPostern; default `run`. */
  command?: readonly string[]
  /** Variables beside those of the test, of which none is Postern's. */
  env?: Record<string, string>
  cwd?: string
  /** Standard input. */
  input?: string
  /** Close standard output at its first bytes, as `head -1` does. */
  readsLittle?: boolean
  /** No file may grow beyond some 1 KiB, as on a full disk. */
  diskIsFull?: boolean
}

export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

/** Runs `postern` to its end. */
export async function postern(args: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  const child = start(args, options)
  let stdout = ''
  let stderr = ''
  child.stdout!.setEncoding('utf8').on('data', (text) => {
    stdout += text
    if (options.readsLittle) child.stdout!.destroy()
  })
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [status] = await ended(child)
  return { status, stdout, stderr }
}

export type LogLine = Record<string, unknown> & { level: string; msg: string }

/** `postern run` (or another command that serves) until a signal, with its log as it comes. */
export class RunningPostern {
  readonly exited: Promise<number | null>
  /** Messages of all lines so far. */
  readonly messages: string[] = []
  readonly #child: ChildProcess
  readonly #lines: LogLine[] = []
  #wake = (): void => {}

  constructor(args: readonly string[], options: ChildOptions = {}) {
    this.#child = start([...(options.command ?? ['run']), ...args], options)
    // A test that failed may not have come to its signal.
    process.once('exit', () => this.#child.kill('SIGKILL'))
    this.exited = ended(this.#child).then(([status]) => status)
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      const entry = line.startsWith('{') ? (JSON.parse(line) as LogLine) : { level: 'plain', msg: line }
      this.messages.push(entry.msg)
      this.#lines.push(entry)
      this.#wake()
    })
    void this.exited.then(() => this.#wake())
  }

  /** The next line of the log with these fields; what came before it is passed over. */
  async next(fields: Partial<LogLine>): Promise<LogLine> {
    const deadline = performance.now() + PATIENCE_MS
    const passed: string[] = []
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        const found = line
        if (Object.entries(fields).every(([name, value]) => found[name] === value)) return found
        passed.push(JSON.stringify(line))
      }
      const left = deadline - performance.now()
      if (left <= 0 || this.#child.exitCode !== null) {
        throw new Error(`no line ${JSON.stringify(fields)} after\n${passed.join('\n')}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** For `afterAll`; whatever state it is in. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }
}

function start(args: readonly string[], options: ChildOptions): ChildProcess {
  const { env = {}, cwd, input, diskIsFull = false } = options
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('POSTERN_'))
  const cache: Record<string, string> = diskIsFull ? {} : { NODE_COMPILE_CACHE: COMPILE_CACHE }
  const words = [process.execPath, COMMAND, ...args]
  if (diskIsFull) words.unshift('sh', '-c', 'ulimit -f 2; exec "$0" "$@"')
  const child = spawn(words[0]!, words.slice(1), {
    env: { ...Object.fromEntries(own), ...cache, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.end(input)
  return child
}

function ended(child: ChildProcess): Promise<[number | null]> {
  return once(child, 'close') as Promise<[number | null]>
}
