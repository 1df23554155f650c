// Builds every object once, in the order of the layers; starts, reloads, drains and stops them.

import { readFile } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { metricsOf } from './app-metrics.ts'
import { AuditTrail } from './audit-trail.ts'
import { catalogueFor } from './catalogue-sets.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import { CredentialBroker } from './credentials/credential-broker.ts'
import { Grants } from './grants/grants.ts'
import { Authenticator } from './identity/authenticator.ts'
import { type OnKeysLoaded, openIssuers } from './identity/issuers.ts'
import { type IssuerRuntime, TokenVerifier } from './identity/token-verifier.ts'
import { dial } from './net/dialer.ts'
import { Listener } from './net/listener.ts'
import { UpstreamProbe } from './net/upstream-probe.ts'
import { UpstreamTls } from './net/upstream-tls.ts'
import type { Policy } from './policy/policy.ts'
import { PolicyError, readPolicy } from './policy-file.ts'
import { type Reloadable, type ReloadOutcome, Reloads } from './reloads.ts'
import { RevocationService } from './revocation/service.ts'
import { bindOptionsOf } from './session/bind-options.ts'
import type { SessionContext } from './session/context.ts'
import { SessionRegistry } from './session/registry.ts'
import { SessionMemory } from './session/session-memory.ts'
import { slotsIn } from './session/slots.ts'
import { Store, type StoreEvents } from './store/store.ts'
import { AdminServer, isReady, type ReadyCheck } from './telemetry/admin.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import { DecisionTimes, RevocationTimes } from './telemetry/decision-times.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import { slotOf, Tally } from './telemetry/tally.ts'

/** MQTT sessions remembered after their connection ended. */
const REMEMBERED_SESSIONS = 10_000

export interface AppOptions {
  clock?: Clock
  logger?: Logger
  /** For audit records and checkpoints that go to standard output; default that of the process. */
  output?: Writable
  /** Version of Postern, for `postern_build_info`. */
  version: string
}

export class App {
  readonly config: Config
  readonly logger: Logger
  readonly tally = new Tally()
  readonly listeners: Listener[] = []
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
  readonly #revocationTimes = new RevocationTimes()
  #issuers: IssuerRuntime[] = []
  #credentials: CredentialBroker | undefined
  #context!: SessionContext
  #registry!: SessionRegistry
  #admin: AdminServer | undefined
  #policyLoadedMs = 0
  readonly #reloads: Reloads
  #stopping = false

  constructor(config: Config, options: AppOptions) {
    this.config = config
    this.#clock = options.clock ?? systemClock
    this.#version = options.version
    this.#output = options.output ?? process.stdout
    this.logger = options.logger ?? createLogger({ level: config.log.level, clock: this.#clock })
    this.#catalogue = catalogueFor(config, this.tally)
    const { tls } = config.upstream
    this.#tls = tls && new UpstreamTls(tls, config.upstream)
    this.#upstream = new UpstreamProbe(config.upstream, this.#clock, (reachable) => {
      if (reachable === true) this.logger.info({}, 'the broker can be reached')
      else this.logger.warn({}, reachable)
    })
    this.#store = config.store && new Store(config.store, this.#clock, this.#storeEvents())
    this.#reloads = new Reloads(this.#clock, (outcome) => this.#reloaded(outcome))
    this.#checks = [
      { name: 'draining', ok: () => !this.#context.draining || 'Postern is shutting down.' },
      { name: 'keys', ok: () => this.#keysReady() },
      { name: 'credentials', ok: () => this.#credentials!.ready() },
      { name: 'audit', ok: () => this.#audit.accepting || 'The audit log cannot be written.' },
      { name: 'events', ok: () => this.#eventsHeard() },
      {
        name: 'store',
        ok: () => !this.#store?.isBlocking || 'The store that replicas share cannot be reached.',
      },
      { name: 'upstream', ok: () => this.#upstream.reachable },
    ]
  }

  /** Where the admin endpoints answer, such as `http://127.0.0.1:9464`; undefined when they are off. */
  get adminUrl(): string | undefined {
    const address = this.config.admin?.address
    if (this.#admin === undefined || address === undefined) return undefined
    if (address.kind === 'unix') return `unix:${address.path}`
    const host = address.host.includes(':') ? `[${address.host}]` : address.host
    return `http://${host}:${this.#admin.port}`
  }

  get connections(): number {
    return this.#registry.size
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
    const { config, logger } = this
    // Before anything is read, so that no change is missed while key servers are waited for.
    for (const part of this.#reloadable()) await this.#reloads.watch(part)
    await this.#tls?.load()
    const policy = await readPolicy(config.policy.file)
    const onKeysLoaded: OnKeysLoaded = (issuer, result) => {
      this.tally.add(slotOf(this.#catalogue.keyFetches, result === 'ok' ? 'ok' : 'failed'))
      if (result !== 'ok') logger.warn({ issuer, result }, 'keys could not be fetched')
    }
    this.#issuers = await openIssuers(config.issuers, this.#clock, onKeysLoaded)
    this.#audit = await AuditTrail.open(config, policy.version, {
      ...{
        clock: this.#clock,
        tls: this.#tls,
        logger,
        tally: this.tally,
        catalogue: this.#catalogue,
        output: this.#output,
      },
    })
    this.#revocation = await RevocationService.open(config, {
      clock: this.#clock,
      audit: this.#audit,
      store: this.#store,
      count: (source, result) => this.tally.add(slotOf(this.#catalogue.revocations, source, result)),
      countEvent: (event, result) => this.tally.add(slotOf(this.#catalogue.securityEvents, event, result)),
      observe: (seconds) => this.#revocationTimes.observe(seconds, 1),
      onKeysLoaded,
      onPollFailure: (stream, reason) =>
        logger.warn({ stream, reason }, 'security events could not be polled'),
    })
    if (config.grants !== undefined) {
      const ports = { clock: this.#clock, issuers: this.#issuers, onKeysLoaded, store: this.#store }
      this.#grants = await Grants.open(config.grants, ports)
    }
    this.#policyLoadedMs = this.#clock.now()
    const times = new DecisionTimes()
    this.#context = this.#makeContext(policy, times)
    this.#registry = new SessionRegistry(this.#context)
    await this.#openAdmin(times)
    await this.#credentials!.start()
    for (const listener of config.listeners) {
      const bound = new Listener(listener, this.#registry, {
        clock: this.#clock,
        headerTimeoutMs: config.limits.connectTimeout,
        readFile,
        onError: (error) =>
          logger.error({ listener: listener.name, err: error }, 'a connection could not be accepted'),
      })
      await bound.listen()
      this.listeners.push(bound)
      logger.info({ listener: bound.name, address: bound.address }, 'listening')
    }
    this.#upstream.start()
    this.#revocation.start()
    this.#audit.append({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' })
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
    await this.#registry.drain(withinMs)
    this.#audit.append({ action: 'stop', decision: 'allow', reason: 'ok', effect: 'stopped' })
    await this.#close()
  }

  async #close(): Promise<void> {
    this.#reloads.close()
    this.#upstream.stop()
    for (const listener of this.listeners) listener.close()
    await this.#admin?.close()
    await this.#credentials?.close()
    await Promise.all(this.#issuers.map((issuer) => issuer.keys.close()))
    await this.#store?.close()
    await this.#revocation?.close()
    await this.#grants?.close()
    await this.#audit?.close()
  }

  #makeContext(policy: Policy, times: DecisionTimes): SessionContext {
    const { config } = this
    const verifier = new TokenVerifier(this.#issuers, this.#clock, { maxBytes: config.token.maxBytes })
    const authenticator = new Authenticator(verifier, config, this.#clock)
    this.#credentials = new CredentialBroker(config, {
      clock: this.#clock,
      verifier,
      logger: this.logger,
      onRenewed: (listener) => this.#registry.renewHeld(listener),
      count: (result) => this.tally.add(slotOf(this.#catalogue.credentials, result)),
    })
    return {
      config,
      clock: this.#clock,
      audit: this.#audit,
      digest: this.#audit.digest,
      pseudonym: this.#audit.pseudonym,
      tally: this.tally,
      slots: slotsIn(this.#catalogue),
      logger: this.logger,
      admit: (source, connect, peerHost, tls, listener) =>
        this.#credentials!.of(listener)?.admit(source, connect) ??
        authenticator.authenticate(source, connect, peerHost, tls),
      heldToken: (listener) => this.#credentials!.of(listener),
      renew: (token, current, peerHost) => authenticator.renew(token, current, peerHost),
      verifyCarried: (token, current, peer) =>
        authenticator.verifyCarried(token, current, peer.host, peer.tls),
      tokenTopic: config.token.topic === undefined ? undefined : Buffer.from(config.token.topic),
      revocations: this.#revocation!.revocations.roster,
      grants: this.#grants,
      grantTopic: config.grants?.topic === undefined ? undefined : Buffer.from(config.grants.topic),
      dial: (events, client) => {
        const { address, connectTimeout: timeoutMs, proxyProtocol } = config.upstream
        const proxyFor = proxyProtocol === 'v2' ? client : undefined
        return dial({ address, timeoutMs, tls: this.#tls, proxyFor }, events)
      },
      memory: new SessionMemory(this.#clock, REMEMBERED_SESSIONS),
      bindOptionsOf: bindOptionsOf(config),
      policyInForce: { policy, epoch: 1 },
      draining: false,
      observeDecisions: (seconds, count) => times.observe(seconds, count),
    }
  }

  async #openAdmin(times: DecisionTimes): Promise<void> {
    const { admin } = this.config
    if (admin === undefined) return
    const metrics = metricsOf(this.tally, this.#catalogue, {
      version: this.#version,
      times,
      revocationTimes: this.#revocationTimes,
      policyInForce: () => this.#context.policyInForce.policy,
      policyLoadedMs: () => this.#policyLoadedMs,
      audit: this.#audit,
      issuers: this.#issuers,
      revocation: this.#revocation!,
      store: this.#store,
      credentials: this.#credentials!,
      inShadow: () => this.#inShadow(),
      ready: () => this.ready,
    })
    this.#admin = new AdminServer({
      address: admin.address,
      metrics,
      checks: this.#checks,
      routes: this.#revocation!.routes,
    })
    await this.#admin.listen()
    this.logger.info({ address: this.adminUrl }, 'admin endpoints')
  }

  /** What is read again while Postern runs, in the order of `reload`. */
  *#reloadable(): Iterable<Reloadable> {
    const { policy, issuers, grants, revocation, listeners } = this.config
    yield { what: 'policy', files: [policy.file], load: () => this.#loadPolicy() }
    for (const [i, { jwks }] of issuers.entries()) {
      // How a fetch from a URL went is told as for every fetch.
      const files = jwks.file === undefined ? [] : [jwks.file]
      yield { what: 'keys', files, load: () => this.#issuers[i]!.keys.load() }
    }
    for (const [i, { jwks }] of (grants?.issuers ?? []).entries()) {
      if (jwks.file === undefined) continue
      yield { what: 'keys', files: [jwks.file], load: () => this.#grants!.loadKeys(i) }
    }
    if (revocation !== undefined) {
      const secrets = revocation.events.map((stream) => stream.secretFile)
      const files = [revocation.listFile, revocation.secretFile, ...secrets]
      yield { what: 'revocation', files: present(files), load: () => this.#revocation!.load() }
    }
    for (const [i, { tls }] of listeners.entries()) {
      if (tls === undefined) continue
      const files = present([tls.certFile, tls.keyFile, tls.clientCaFile])
      yield { what: 'tls', files, load: () => this.listeners[i]!.reloadTls() }
    }
    const upstream = this.#tls
    if (upstream !== undefined) yield { what: 'tls', files: upstream.files, load: () => upstream.load() }
  }

  async #loadPolicy(): Promise<void> {
    const policy = await readPolicy(this.config.policy.file)
    this.#audit.policy = policy.version
    this.#registry.usePolicy(policy)
    this.#policyLoadedMs = this.#clock.now()
  }

  #reloaded({ what, source, error }: ReloadOutcome): void {
    const ok = error === undefined
    this.tally.add(slotOf(this.#catalogue.reloads, what, ok ? 'ok' : 'failed'))
    this.#audit.append({
      action: what,
      decision: ok ? 'allow' : 'deny',
      reason: ok ? 'ok' : 'reload_failed',
      effect: ok ? 'in force' : 'the former one stays in force',
      detail: source,
    })
    if (ok) return this.logger.info({ what, source }, 'reloaded')
    const problems = error instanceof PolicyError ? error.problems : undefined
    const fields = { what, source, err: error, problems }
    this.logger.error(fields, 'reload failed; the former one stays in force')
  }

  #storeEvents(): StoreEvents {
    return {
      changed: (up, why) => {
        if (up) this.logger.info({}, 'the store is in contact')
        else
          this.logger.error({ why, onFailure: this.config.store!.onFailure }, 'the store cannot be reached')
      },
      count: (result) => this.tally.add(slotOf(this.#catalogue.storeRequests, result)),
    }
  }

  #eventsHeard(): true | string {
    const silent = this.#revocation?.silent ?? []
    return silent.length === 0 || `Nothing was heard of the event streams ${silent.join(', ')} for too long.`
  }

  /** Whether something that would be denied may be let through. */
  #inShadow(): boolean {
    const { rules } = this.#context.policyInForce.policy
    return rules.shadow !== undefined || this.config.listeners.some(({ mode }) => mode === 'shadow')
  }

  #keysReady(): true | string {
    const waiting = this.#issuers.filter((issuer) => !issuer.keys.ready())
    if (waiting.length === 0) return true
    return `No usable keys for ${waiting.map((issuer) => issuer.config.issuer).join(', ')}.`
  }
}

function present(files: readonly (string | undefined)[]): string[] {
  return files.filter((file) => file !== undefined)
}
