// Builds every object once, in the order of the layers; starts, reloads, drains and stops them.

import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { type Checked, checksOf, healthOf } from './app-checks.ts'
import { contextOf, isInShadow } from './app-context.ts'
import { openKeysOf } from './app-keys.ts'
import { listen, listenToo, openListeners } from './app-listeners.ts'
import { metricsOf } from './app-metrics.ts'
import { reportReload, revocationReports, storeReports } from './app-reports.ts'
import { AuditTrail } from './audit-trail.ts'
import { catalogueFor } from './catalogue-sets.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import { CredentialBroker } from './credentials/credential-broker.ts'
import { Grants } from './grants/grants.ts'
import { AceKeys } from './identity/ace-keys.ts'
import { Authenticator } from './identity/authenticator.ts'
import type { OnKeysLoaded } from './identity/issuers.ts'
import { type IssuerRuntime, TokenVerifier } from './identity/token-verifier.ts'
import type { Listener } from './net/listener.ts'
import { UpstreamProbe } from './net/upstream-probe.ts'
import { UpstreamTls } from './net/upstream-tls.ts'
import type { Policy } from './policy/policy.ts'
import { readPolicy } from './policy-file.ts'
import { reloadable } from './reloadable.ts'
import { type Reloadable, Reloads } from './reloads.ts'
import { RevocationService } from './revocation/service.ts'
import type { Crew, SharedPorts, Station } from './roles.ts'
import type { SessionContext } from './session/context.ts'
import { type Elsewhere, SessionRegistry } from './session/registry.ts'
import { SessionMemory } from './session/session-memory.ts'
import { Store } from './store/store.ts'
import { AdminServer, isReady, type ReadyCheck } from './telemetry/admin.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import { DecisionTimes, RevocationTimes } from './telemetry/decision-times.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import type { Metrics } from './telemetry/metrics.ts'
import { slotOf, Tally } from './telemetry/tally.ts'
import { openTokenChecks, type TokenChecks } from './token-checks.ts'

/** MQTT sessions remembered after their connection ended. */
const REMEMBERED_SESSIONS = 10_000

export interface AppOptions {
  clock?: Clock
  logger?: Logger
  /** For audit records and checkpoints that go to standard output; default that of the process. */
  output?: Writable
  /** Version of Postern, for `postern_build_info`. */
  version: string
  /** In the first of several processes. */
  crew?: Crew | undefined
  /** In a worker. */
  station?: Station | undefined
}

export class App {
  readonly config: Config
  readonly logger: Logger
  readonly tally = new Tally()
  listeners: readonly Listener[] = []
  readonly #crew: Crew | undefined
  readonly #station: Station | undefined
  readonly #readFile: (path: string) => Promise<Buffer>
  readonly #clock: Clock
  readonly #version: string
  readonly #output: Writable
  readonly #catalogue: Catalogue
  readonly #checks: ReadyCheck[]
  readonly #upstream: UpstreamProbe
  readonly #tls: UpstreamTls | undefined
  #audit!: AuditTrail
  #revocation: RevocationService | undefined
  #grants: Grants | undefined
  readonly #store: Store | undefined
  #tokenChecks: TokenChecks = []
  readonly #revocationTimes = new RevocationTimes()
  #issuers: IssuerRuntime[] = []
  #credentials: CredentialBroker | undefined
  readonly #aceKeys: AceKeys | undefined
  #context!: SessionContext
  #registry!: SessionRegistry
  #authenticator!: Authenticator
  /** After `start`. */
  metrics!: Metrics
  #admin: AdminServer | undefined
  #policyLoadedMs = 0
  readonly #reloads: Reloads
  #stopping = false

  constructor(config: Config, options: AppOptions) {
    const { crew, station } = options
    this.config = config
    this.#crew = crew
    this.#station = station
    this.#readFile = station?.readFile ?? crew?.readFile ?? readFile
    this.#clock = options.clock ?? systemClock
    this.#version = options.version
    this.#output = options.output ?? process.stdout
    this.logger = options.logger ?? createLogger({ level: config.log.level, clock: this.#clock })
    this.#catalogue = catalogueFor(config, this.tally)
    const { tls } = config.upstream
    this.#tls = tls && new UpstreamTls(tls, config.upstream, this.#readFile)
    if (config.proof.ace) this.#aceKeys = new AceKeys(config.proof.aceKeysFile, this.#readFile)
    this.#upstream = new UpstreamProbe(config.upstream, this.#clock, (reachable) => {
      if (reachable === true) this.logger.info({}, 'the broker can be reached')
      else this.logger.warn({}, reachable)
    })
    const { store } = config
    const reporting = { tally: this.tally, catalogue: this.#catalogue, logger: this.logger }
    if (store !== undefined && station === undefined) {
      const events = storeReports(store.onFailure, reporting, () => this.#see())
      this.#store = new Store(store, this.#clock, events)
    }
    this.#reloads = new Reloads(this.#clock, (outcome) => reportReload(outcome, this.#audit, reporting))
    const checked: Checked = {
      ...{ store: this.#store, upstream: this.#upstream, crew },
      draining: () => this.#context.draining,
      issuers: () => this.#issuers,
      credentials: () => this.#credentials!,
      audit: () => this.#audit,
      revocation: () => this.#revocation,
    }
    this.#checks = checksOf(checked, station !== undefined)
  }

  /** Where the admin endpoints answer, such as `http://127.0.0.1:9464`; undefined when they are off. */
  get adminUrl(): string | undefined {
    return this.#admin?.url
  }

  get connections(): number {
    return this.#crew?.connections ?? this.#registry.size
  }

  get ready(): boolean {
    return isReady(this.#checks)
  }

  /**
   * Loads policy and keys, opens the audit log, and binds: admin first, agents' listeners last. Nothing stays open
   * when it fails.
   *
   * @throws PosternError of the part that failed
   */
  async start(): Promise<void> {
    const started = this.#start()
    this.#reloads.startAfter(started)
    try {
      await started
    } catch (error) {
      await this.#close()
      throw error
    }
  }

  async #start(): Promise<void> {
    const { config } = this
    // Before anything is read, so that no change is missed while key servers are waited for.
    if (this.#station === undefined) for (const part of this.#watched()) await this.#reloads.watch(part)
    await this.#tls?.load()
    const policy = await readPolicy(config.policy.file, this.#readFile)
    const { issuers, onKeysLoaded } = await openKeysOf(config, {
      ...{ clock: this.#clock, readFile: this.#readFile, audit: () => this.#audit },
      // The workers have the connections, and key sets of their own.
      roster: () => (this.#crew ? undefined : (this.#station?.roster ?? this.#revocation?.roster)),
      reporting: { tally: this.tally, catalogue: this.#catalogue, logger: this.logger },
    })
    this.#issuers = issuers
    await this.#aceKeys?.load()
    this.#audit = await AuditTrail.open(config, policy.version, {
      ...{ clock: this.#clock, tls: this.#tls, logger: this.logger, output: this.#output },
      ...{ tally: this.tally, catalogue: this.#catalogue, chain: this.#station?.name },
    })
    if (this.#station === undefined) await this.#openRevocation(onKeysLoaded)
    if (config.grants !== undefined) {
      const ports = { clock: this.#clock, issuers: this.#issuers, onKeysLoaded, store: this.#store }
      const shared = { read: this.#readFile, used: this.#station?.usedGrants }
      this.#grants = await Grants.open(config.grants, { ...ports, ...shared })
    }
    this.#tokenChecks = openTokenChecks(this.#issuers, {
      ...{ clock: this.#clock, audit: this.#audit, tally: this.tally, catalogue: this.#catalogue },
      roster: this.#station?.roster ?? this.#revocation!.roster,
    })
    this.#policyLoadedMs = this.#clock.now()
    const times = new DecisionTimes()
    this.#context = this.#makeContext(policy, times)
    this.#registry = new SessionRegistry(this.#context)
    this.metrics = this.#makeMetrics(times)
    await this.#openAdmin()
    await this.#credentials!.start()
    this.listeners = await openListeners(config, this.#registry, {
      ...{ clock: this.#clock, logger: this.logger, readFile: this.#readFile },
      ...{ crew: this.#crew, ticketKeys: this.#station?.ticketKeys },
    })
    await this.#startCrew()
    if (this.#station === undefined) {
      await listen(this.listeners, this.#crew, this.logger)
      this.#upstream.start()
    }
    this.#revocation?.start()
    for (const checks of this.#tokenChecks) checks.start()
    const detail = this.#crew && `${config.workers} workers`
    this.#audit.append({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening', detail })
  }

  async #openRevocation(onKeysLoaded: OnKeysLoaded): Promise<void> {
    const to = { tally: this.tally, catalogue: this.#catalogue, logger: this.logger }
    this.#revocation = await RevocationService.open(this.config, {
      ...{ clock: this.#clock, audit: this.#audit, store: this.#store, onKeysLoaded },
      ...revocationReports(this.#revocationTimes, to),
      others: this.#crew?.rosters,
      onContact: () => this.#see(),
    })
  }

  async #startCrew(): Promise<void> {
    const { roster, sight } = this.#revocation ?? {}
    if (roster === undefined || sight === undefined) return
    await this.#crew?.start({
      ...{ roster, sight, usedGrants: this.#grants?.used },
      onExit: () => this.tally.add(this.#catalogue.workerExits.first),
    })
  }

  /** In a worker, once it has started. @throws PosternError ERR_LISTEN */
  listen(ports: SharedPorts): Promise<void> {
    return listenToo(this.listeners, ports)
  }

  /** A connection that the first process accepted. @param elsewhere as in SessionRegistry */
  take(listener: number, socket: Socket, elsewhere: Elsewhere): void {
    this.elsewhere = elsewhere
    this.listeners[listener]!.take(socket)
  }

  /** What the other processes hold, as far as it is known here. */
  set elsewhere(counts: Elsewhere) {
    this.#registry.elsewhere = counts
  }

  /** A failed try at another process. */
  countFailedTry(key: string): void {
    this.#authenticator.countFailedTry(key)
  }

  /** Reads the files of one part again; `part` is its place among the reloadable. */
  async load(part: number): Promise<void> {
    await this.#reloadable()[part]!.load()
  }

  get unauthenticated(): number {
    return this.#registry.unauthenticated
  }

  /** Connections that the broker has accepted. */
  get established(): number {
    return this.#registry.established
  }

  /** true, or what is wrong, as sentences. */
  get health(): true | string {
    return healthOf(this.#checks)
  }

  /** Resolves when every record so far is on disk. */
  flushAudit(): Promise<void> {
    return this.#audit.flush()
  }

  /** Reads policy, keys, certificates and the revocation list again. What is bad is reported and stays as it was. */
  reload(): Promise<void> {
    return this.#reloads.all()
  }

  /**
   * Stops taking connections, ends every session within `withinMs` (default `sessions.drain`), flushes the audit
   * log. Idempotent.
   */
  async stop({ withinMs = this.config.sessions.drain }: { withinMs?: number } = {}): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#context.draining = true
    for (const listener of this.listeners) listener.close()
    try {
      await (this.#crew ?? this.#registry).drain(withinMs)
    } finally {
      this.#audit.append({ action: 'stop', decision: 'allow', reason: 'ok', effect: 'stopped' })
      await this.#close()
    }
  }

  async #close(): Promise<void> {
    this.#reloads.close()
    this.#upstream.stop()
    for (const listener of this.listeners) listener.close()
    await this.#crew?.close()
    await this.#admin?.close()
    await this.#credentials?.close()
    await Promise.all(this.#issuers.map((issuer) => issuer.keys.close()))
    await Promise.all(this.#tokenChecks.map((checks) => checks.close()))
    await this.#store?.close()
    await this.#revocation?.close()
    await this.#grants?.close()
    await this.#audit?.close()
  }

  #makeContext(policy: Policy, times: DecisionTimes): SessionContext {
    const { config } = this
    const station = this.#station
    const verifier = new TokenVerifier(this.#issuers, this.#clock, { maxBytes: config.token.maxBytes })
    this.#authenticator = new Authenticator(
      verifier,
      config,
      this.#clock,
      station?.onFailedTry,
      this.#aceKeys,
    )
    this.#credentials = new CredentialBroker(config, {
      ...{ clock: this.#clock, verifier, logger: this.logger },
      onRenewed: (listener) => this.#registry.renewHeld(listener),
      count: (result) => this.tally.add(slotOf(this.#catalogue.credentials, result)),
    })
    return contextOf(config, {
      ...{ clock: this.#clock, logger: this.logger, tally: this.tally, catalogue: this.#catalogue },
      ...{ times, policy, tls: this.#tls, audit: this.#audit, authenticator: this.#authenticator },
      ...{ credentials: this.#credentials, grants: this.#grants },
      revocations: station?.roster ?? this.#revocation!.roster,
      memory: station?.memory ?? new SessionMemory(this.#clock, REMEMBERED_SESSIONS),
      ...(station === undefined ? {} : { counted: station.counted }),
    })
  }

  #makeMetrics(times: DecisionTimes): Metrics {
    return metricsOf(this.tally, this.#catalogue, {
      ...{ version: this.#version, times, revocationTimes: this.#revocationTimes },
      policyInForce: () => this.#context.policyInForce.policy,
      policyLoadedMs: () => this.#policyLoadedMs,
      ...{ audit: this.#audit, issuers: this.#issuers, revocation: this.#revocation, store: this.#store },
      workers: () => this.#crew?.size ?? 1,
      credentials: this.#credentials!,
      inShadow: () => isInShadow(this.config, this.#context.policyInForce.policy),
      ready: () => this.ready,
    })
  }

  async #openAdmin(): Promise<void> {
    const { admin } = this.config
    if (admin === undefined || this.#station !== undefined) return
    const crew = this.#crew
    this.#admin = new AdminServer({
      address: admin.address,
      metrics: crew?.metricsWith(this.metrics) ?? this.metrics,
      checks: this.#checks,
      refresh: crew && (() => crew.refresh()),
      routes: this.#revocation!.routes,
    })
    await this.#admin.listen()
    this.logger.info({ address: this.adminUrl }, 'admin endpoints')
  }

  /** What the workers are to have too is handed to them when it is good. */
  *#watched(): Iterable<Reloadable> {
    for (const [i, part] of this.#reloadable().entries()) {
      const load = async (): Promise<void> => {
        await part.load()
        if (part.what !== 'revocation') await this.#crew?.reloaded(i, part.files)
      }
      yield { ...part, load }
    }
  }

  /** What is read again while Postern runs, in the order of `reload`. */
  #reloadable(): Reloadable[] {
    return reloadable(this.config, {
      policy: () => this.#loadPolicy(),
      keys: (i) => this.#issuers[i]!.keys.load(),
      grantKeys: (i) => this.#grants!.loadKeys(i),
      aceKeys: () => this.#aceKeys!.load(),
      auditKeys: () => this.#audit.reloadKeys(),
      listener: (i) => this.listeners[i]!.reloadTls(),
      revocation: () => this.#revocation!.load(),
      upstream: () => this.#tls!.load(),
    })
  }

  async #loadPolicy(): Promise<void> {
    const policy = await readPolicy(this.config.policy.file, this.#readFile)
    this.#audit.policy = policy.version
    this.#registry.usePolicy(policy)
    this.#policyLoadedMs = this.#clock.now()
  }

  #see(): void {
    if (this.#revocation !== undefined) this.#crew?.see(this.#revocation.sight)
  }
}
