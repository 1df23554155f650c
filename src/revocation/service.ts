// Everything that revokes, put together: marks from disk, the ways in that are configured, and their files as they
// change. The app starts it, reloads it and closes it.

import type { AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { EventPoller } from '../identity/event-poll.ts'
import type { OnKeysLoaded } from '../identity/issuers.ts'
import { openKeys } from '../identity/issuers.ts'
import type { KeySource } from '../identity/key-source.ts'
import type { Store } from '../store/store.ts'
import type { Route } from '../telemetry/admin.ts'
import { adminRoute } from './admin-route.ts'
import { EventStream } from './event-stream.ts'
import { readList, readSecret } from './files.ts'
import { Journal } from './journal.ts'
import { Marks } from './marks.ts'
import { PollLoop } from './poll-loop.ts'
import { pushRoute } from './push-route.ts'
import { KEEP_ENABLED_MS, Replication } from './replication.ts'
import { type OtherRosters, Revocations, type Source } from './revocations.ts'
import { type Blindness, Roster } from './roster.ts'
import { SEEN_FOR_MS, SeenEvents } from './seen-events.ts'
import type { Selector } from './selector.ts'

export interface ServicePorts {
  clock: Clock
  audit: AuditSink & { flush(): Promise<void> }
  /** What replicas share; it is started here. undefined: there is one replica. */
  store: Store | undefined
  count(source: Source, result: 'done' | 'refused'): void
  countEvent(event: string, result: 'done' | 'ignored' | 'refused'): void
  observe(seconds: number): void
  onKeysLoaded: OnKeysLoaded
  /** Of other processes that hold connections. */
  others?: OtherRosters | undefined
  /** A stream has given a sign of life. */
  onContact?(): void
  /** A poll failed. */
  onPollFailure(stream: string, reason: string): void
}

/** Whether revocations are heard of, as far as the configuration wants nobody to be let in otherwise (REV-16). */
export interface Sight {
  store: boolean
  /** Until when, unless another sign of life comes; milliseconds since the epoch, Infinity: without end. */
  eventsUntilMs: number
}

export function blindnessAt(nowMs: number, { store, eventsUntilMs }: Sight): Blindness | undefined {
  if (!store) return 'store_unavailable'
  return nowMs > eventsUntilMs ? 'events_silent' : undefined
}

/** Empty, with the times that they are to be kept. */
export function marksFor(config: Pick<Config, 'issuers' | 'grants' | 'store'>, clock: Clock): Marks {
  return new Marks(clock, longestLifeMs(config), config.store === undefined ? 0 : KEEP_ENABLED_MS)
}

/** How long a token or a grant can be good, milliseconds. */
function longestLifeMs({ issuers, grants }: Pick<Config, 'issuers' | 'grants'>): number {
  return Math.max(grants?.maxLifetime ?? 0, ...issuers.map(({ maxLifetime, leeway }) => maxLifetime + leeway))
}

/** Largest answer to a poll. */
const POLL_BYTES = 16 * 1024 * 1024

export class RevocationService {
  readonly revocations: Revocations
  /** By path, for the admin listener. */
  readonly routes = new Map<string, Route>()
  readonly #config: Config
  readonly #ports: ServicePorts
  readonly #journal: Journal | undefined
  readonly #seen: SeenEvents
  #secret = ''
  /** Of each stream, in order. */
  #streamSecrets: string[] = []
  readonly streams: EventStream[] = []
  readonly #keys: KeySource[] = []
  readonly #polls: PollLoop[] = []

  private constructor(
    config: Config,
    ports: ServicePorts,
    revocations: Revocations,
    seen: SeenEvents,
    journal?: Journal,
  ) {
    this.#config = config
    this.#seen = seen
    this.#ports = ports
    this.revocations = revocations
    this.#journal = journal
  }

  /** @throws PosternError `ERR_REVOCATIONS` of a file that cannot be used: what is revoked must not come back by that */
  static async open(config: Config, ports: ServicePorts): Promise<RevocationService> {
    const { clock, audit } = ports
    const { store } = ports
    const marks = marksFor(config, clock)
    const seen = new SeenEvents(clock)
    const settings = config.revocation
    const journal = settings === undefined ? undefined : await Journal.open(settings.file, marks, seen)
    const roster = new Roster(marks, marksFor(config, clock), clock, () =>
      blindnessAt(clock.now(), service.sight),
    )
    const revocations = new Revocations(roster, {
      clock,
      audit,
      journal,
      marginMs: settings?.margin ?? 0,
      others: ports.others,
      share: store && ((mark) => replication!.share(mark)),
      observe: (source, seconds) => {
        if (source === 'list' || source === 'store') ports.count(source, 'done')
        ports.observe(seconds)
      },
    })
    const replication = store && new Replication(store, revocations, () => clock.now(), longestLifeMs(config))
    const service: RevocationService = new RevocationService(config, ports, revocations, seen, journal)
    try {
      await service.load()
      await service.#openStreams()
      if (store !== undefined) await store.start(replication!)
    } catch (error) {
      await service.close()
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
      this.#secret = await readSecret(secretFile)
    }
    const { events = [] } = this.#config.revocation ?? {}
    this.#streamSecrets = await Promise.all(events.map((stream) => readSecret(stream.secretFile)))
    if (listFile !== undefined) await this.revocations.useList(await this.#readList(listFile))
  }

  #readList(file: string): Promise<Selector[]> {
    return readList(file, this.#issuers).catch((error: unknown) => {
      this.#ports.count('list', 'refused')
      throw error
    })
  }

  /** Streams that have been silent for longer than they may be. */
  get silent(): string[] {
    return this.streams.filter((stream) => stream.isSilent).map((stream) => stream.config.name)
  }

  /** Of this process. */
  get roster(): Roster {
    return this.revocations.roster
  }

  get sight(): Sight {
    const strict = this.streams.filter((stream) => stream.config.onSilence === 'deny')
    return {
      store: !this.#ports.store?.isBlocking,
      eventsUntilMs: Math.min(...strict.map((stream) => stream.silentAfterMs)),
    }
  }

  /** Begins to poll; once the agents' listeners are there or about to be. */
  start(): void {
    for (const poll of this.#polls) poll.start()
  }

  async close(): Promise<void> {
    await Promise.all(this.#polls.map((poll) => poll.stop()))
    await Promise.all(this.#keys.map((keys) => keys.close()))
    await this.#journal?.close()
  }

  async #openStreams(): Promise<void> {
    const { clock, onKeysLoaded, onPollFailure, count, countEvent } = this.#ports
    const { revocations } = this
    for (const [i, config] of (this.#config.revocation?.events ?? []).entries()) {
      const keys = openKeys(config, clock, onKeysLoaded)
      this.#keys.push(keys)
      const stream = new EventStream(config, {
        clock,
        revocations,
        keys,
        issuers: this.#issuers,
        onContact: () => this.#ports.onContact?.(),
        seen: { has: (event) => this.#hasSeen(event), add: (event) => this.#addSeen(event) },
        count: (source, event, result) => {
          countEvent(event, result)
          if (result !== 'ignored') count(source, result)
        },
      })
      this.streams.push(stream)
      const secret = (): string => this.#streamSecrets[i]!
      if (config.poll === undefined) {
        this.routes.set(`/events/${config.name}`, pushRoute(stream, secret, revocations))
        continue
      }
      const { url, timeout, interval } = config.poll
      const poller = new EventPoller({ url, timeout, secret, maxBytes: POLL_BYTES }, clock)
      const failed = (reason: string): void => onPollFailure(config.name, reason)
      this.#polls.push(new PollLoop(stream, poller, clock, interval, failed))
    }
    await Promise.all(this.#keys.map((keys) => keys.load()))
  }

  /** When the store cannot tell, it is acted on again: that does no harm. */
  async #hasSeen(event: string): Promise<boolean> {
    return this.#seen.has(event) || (await this.#ports.store?.remembers(event).catch(() => false)) === true
  }

  async #addSeen(event: string): Promise<void> {
    const { store, clock } = this.#ports
    const at = clock.now()
    this.#seen.add(event, at)
    await this.#journal?.append({ do: 'seen', event, at })
    await store?.remember(event, SEEN_FOR_MS).catch(() => {})
  }

  get #issuers(): ReadonlySet<string> {
    const { issuers, grants } = this.#config
    return new Set([...issuers, ...(grants?.issuers ?? [])].map(({ issuer }) => issuer))
  }
}
