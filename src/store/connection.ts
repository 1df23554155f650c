// Two connections to a Redis or Valkey server, made again when they break: one for commands, one that waits for news.
// Whoever uses it is told when it is up, and gets answers or a PosternError within the timeout. The only folder that
// imports the client library; its own reconnecting and queueing are off, so that nothing is answered late.

import { readFile } from 'node:fs/promises'
import { createClient } from '@redis/client'
import type { Clock, Timer } from '../clock.ts'
import type { StoreConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'

type Client = ReturnType<typeof makeClient>
/** One command; the answer as RESP 2 has it. */
export type Ask = (command: readonly string[], withinMs?: number) => Promise<unknown>

export interface ConnectionEvents {
  /** Both connections are there. What rejects ends them. */
  connected(ask: Ask): Promise<void>
  /** Waits for news once; called again and again while the connection lasts. What rejects ends it. */
  follow(ask: Ask): Promise<void>
  /** `why`: of an end, without secrets. */
  changed(up: boolean, why: string): void
  /** One command has been answered, or not. */
  count(result: 'ok' | 'failed'): void
}

const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 2_000
const READ_ONLY = 'it answers READONLY'

export class Connection {
  readonly #config: StoreConfig
  readonly #clock: Clock
  readonly #events: ConnectionEvents
  #clients: Client[] = []
  #ask: Ask | undefined
  #failures = 0
  #retry: Timer | undefined
  #wake: () => void = () => {}
  #stopped = false
  #running: Promise<void> = Promise.resolve()

  constructor(config: StoreConfig, clock: Clock, events: ConnectionEvents) {
    this.#config = config
    this.#clock = clock
    this.#events = events
  }

  get isUp(): boolean {
    return this.#ask !== undefined
  }

  /** Resolves when it is up, or the first try has failed. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#running = this.#run(resolve)
    })
  }

  /** @throws PosternError `ERR_STORE`: nobody knows whether it was done */
  ask(command: readonly string[]): Promise<unknown> {
    if (this.#ask === undefined) {
      this.#events.count('failed')
      return Promise.reject(storeError('the store cannot be reached'))
    }
    return this.#ask(command)
  }

  async close(): Promise<void> {
    this.#stopped = true
    this.#ask = undefined
    this.#end()
    this.#retry?.cancel()
    this.#wake()
    await this.#running
  }

  async #run(tried: () => void): Promise<void> {
    while (!this.#stopped) {
      let why = ''
      try {
        await this.#live(tried)
      } catch (error) {
        why = reasonOf(error)
      }
      const wasUp = this.#ask !== undefined
      this.#ask = undefined
      this.#end()
      if (this.#stopped) break
      if (wasUp || this.#failures === 0) this.#events.changed(false, why)
      this.#failures++
      tried()
      await this.#pause(Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.#failures - 1, 10), LONGEST_RETRY_MS))
    }
    tried()
  }

  /** From connecting to the end of the connection, which is always a rejection. */
  async #live(tried: () => void): Promise<void> {
    const settings = await settingsOf(this.#config)
    const [commands, news] = [await this.#connect(settings), await this.#connect(settings)]
    const ask = this.#asker(commands)
    await this.#events.connected(ask)
    this.#failures = 0
    this.#ask = ask
    this.#events.changed(true, '')
    tried()
    const listen = this.#asker(news)
    while (!this.#stopped) await this.#events.follow(listen)
  }

  async #connect(settings: Settings): Promise<Client> {
    const client = makeClient(settings, this.#config.timeout)
    this.#clients.push(client)
    // Whichever of the two breaks takes the other with it: what waits on it is rejected.
    client.on('error', () => this.#end())
    await this.#within(client.connect(), this.#config.timeout)
    return client
  }

  #asker(client: Client): Ask {
    return async (command, withinMs = this.#config.timeout) => {
      try {
        const answer: unknown = await this.#within(client.sendCommand([...command]), withinMs)
        this.#events.count('ok')
        return answer
      } catch (error) {
        this.#events.count('failed')
        if (error instanceof PosternError) throw error
        const why = reasonOf(error)
        // After a failover the address may lead to the new primary.
        if (why === READ_ONLY) this.#end()
        throw storeError(why, error)
      }
    }
  }

  /** An answer that does not come in time ends the connection: the next one could be taken for it. */
  async #within<T>(answer: Promise<T>, withinMs: number): Promise<T> {
    let timer: Timer | undefined
    const late = new Promise<never>((_, reject) => {
      timer = this.#clock.after(withinMs, () => {
        reject(storeError('it does not answer in time'))
        this.#end()
      })
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      timer?.cancel()
    }
  }

  #end(): void {
    for (const client of this.#clients.splice(0)) {
      if (client.isOpen) client.destroy()
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#retry = this.#clock.after(ms, resolve)
    })
  }
}

export function storeError(why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_STORE', 'internal', why, { cause })
}

interface Settings {
  host: string
  port: number
  database: number
  username: string | undefined
  password: string | undefined
  tls: { ca?: string; cert?: string; key?: string; servername?: string } | undefined
}

/** Files are read for every connection, so that what was rotated is used. */
async function settingsOf(config: StoreConfig): Promise<Settings> {
  const url = new URL(config.url ?? (await read(config.urlFile!)).trim())
  const password =
    config.passwordFile === undefined
      ? decodeURIComponent(url.password)
      : (await read(config.passwordFile)).replace(/\r?\n$/, '')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return {
    host,
    port: Number(url.port || 6379),
    database: Number(url.pathname.slice(1) || 0),
    username: config.username ?? (decodeURIComponent(url.username) || undefined),
    password: password || undefined,
    tls: url.protocol === 'rediss:' ? await tlsOf(config, host) : undefined,
  }
}

async function tlsOf({ tls }: StoreConfig, host: string): Promise<Settings['tls']> {
  // An address is no name to ask for (RFC 6066); the certificate must have it all the same.
  const name = tls?.serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host)
  const asked = name === undefined ? {} : { servername: name }
  if (tls === undefined) return asked
  return {
    ...asked,
    ...(tls.caFile === undefined ? {} : { ca: await read(tls.caFile) }),
    ...(tls.certFile === undefined ? {} : { cert: await read(tls.certFile) }),
    ...(tls.keyFile === undefined ? {} : { key: await read(tls.keyFile) }),
  }
}

async function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw storeError(`${path} cannot be read (${cause.code ?? 'unknown reason'})`, cause)
  })
}

function makeClient({ host, port, database, username, password, tls }: Settings, timeoutMs: number) {
  const common = { host, port, connectTimeout: timeoutMs, reconnectStrategy: false } as const
  return createClient({
    RESP: 2,
    socket: tls === undefined ? common : { ...common, ...tls, tls: true },
    database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  })
}

/** A code or the first word of an answer: neither holds what was sent. */
function reasonOf(error: unknown): string {
  if (error instanceof PosternError) return error.message
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (typeof code === 'string') return code
  const word = /^[A-Z]{3,}/.exec(String(message))?.[0]
  if (word !== undefined) return `it answers ${word}`
  if (error instanceof TypeError) return 'its URL cannot be used'
  return 'the connection was lost'
}
