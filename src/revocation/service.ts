// Everything that revokes, put together: marks from disk, the ways in that are configured, and their files as they
// change. The app starts it, reloads it and closes it.

import { readFile } from 'node:fs/promises'
import type { AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import type { Route } from '../telemetry/admin.ts'
import { adminRoute } from './admin-route.ts'
import { Journal } from './journal.ts'
import { Marks } from './marks.ts'
import { readOrderOf } from './order.ts'
import { Revocations, type Source } from './revocations.ts'
import type { Selector } from './selector.ts'

export interface ServicePorts {
  clock: Clock
  audit: AuditSink & { flush(): Promise<void> }
  count(source: Source, result: 'done' | 'refused'): void
  observe(seconds: number): void
}

/** Shortest secret of the admin endpoint, characters. */
const SHORTEST_SECRET = 16

export class RevocationService {
  readonly revocations: Revocations
  /** By path, for the admin listener. */
  readonly routes = new Map<string, Route>()
  readonly #config: Config
  readonly #ports: ServicePorts
  readonly #journal: Journal | undefined
  #secret = ''

  private constructor(config: Config, ports: ServicePorts, revocations: Revocations, journal?: Journal) {
    this.#config = config
    this.#ports = ports
    this.revocations = revocations
    this.#journal = journal
  }

  /** @throws PosternError `ERR_REVOCATIONS` of a file that cannot be used: what is revoked must not come back by that */
  static async open(config: Config, ports: ServicePorts): Promise<RevocationService> {
    const { clock, audit } = ports
    const longest = Math.max(...config.issuers.map(({ maxLifetime, leeway }) => maxLifetime + leeway))
    const marks = new Marks(clock, longest)
    const settings = config.revocation
    const journal = settings === undefined ? undefined : await Journal.open(settings.file, marks)
    const revocations = new Revocations(marks, new Marks(clock, longest), {
      clock,
      audit,
      journal,
      marginMs: settings?.margin ?? 0,
      observe: (source, seconds) => {
        if (source === 'list') ports.count(source, 'done')
        ports.observe(seconds)
      },
    })
    const service = new RevocationService(config, ports, revocations, journal)
    try {
      await service.load()
    } catch (error) {
      await journal?.close()
      throw error
    }
    if (settings?.secretFile !== undefined) {
      const route = adminRoute(
        revocations,
        () => service.#secret,
        { issuers: service.#issuers },
        (result) => ports.count('admin', result),
      )
      service.routes.set('/revocations', route)
    }
    return service
  }

  /** Reads secret and list again. What is bad leaves the former ones in force. @throws PosternError ERR_REVOCATIONS */
  async load(): Promise<void> {
    const { secretFile, listFile } = this.#config.revocation ?? {}
    if (secretFile !== undefined) {
      const secret = (await readText(secretFile)).trim()
      if (secret.length < SHORTEST_SECRET || /\s/.test(secret)) {
        throw bad(secretFile, `a secret has at least ${SHORTEST_SECRET} characters, without blanks`)
      }
      this.#secret = secret
    }
    if (listFile !== undefined)
      this.revocations.useList(this.#selectorsIn(await readText(listFile), listFile))
  }

  async close(): Promise<void> {
    await this.#journal?.close()
  }

  get #issuers(): ReadonlySet<string> {
    return new Set(this.#config.issuers.map(({ issuer }) => issuer))
  }

  /** A JSON list of `sub_id`: all of them are barred for as long as they stand there. */
  #selectorsIn(text: string, file: string): Selector[] {
    let list: unknown
    try {
      list = JSON.parse(text)
    } catch {
      throw bad(file, 'it is not JSON')
    }
    if (!Array.isArray(list)) throw bad(file, 'it is no list of subjects')
    return list.map((subject, i) => {
      const read = readOrderOf(new Map([['sub_id', subject as unknown]]), { issuers: this.#issuers })
      if (!read.ok) {
        this.#ports.count('list', 'refused')
        throw bad(file, `entry ${i + 1}: ${read.message}`)
      }
      return read.order.selector
    })
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw bad(file, `it cannot be read (${cause.code ?? 'unknown reason'})`, cause)
  })
}

function bad(file: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_REVOCATIONS', 'internal', `${file} cannot be used: ${why}`, { cause })
}
