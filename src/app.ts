// Builds every object once, in the order of the layers; starts, reloads, drains and stops them.

import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { AuditTrail } from './audit-trail.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import { PosternError, type Problem } from './errors.ts'
import { watchFile } from './file-watch.ts'
import { AUTH_FAILURES } from './identity/auth-failure.ts'
import { Authenticator } from './identity/authenticator.ts'
import { openIssuers } from './identity/issuers.ts'
import { type IssuerRuntime, TokenVerifier } from './identity/token-verifier.ts'
import { dial } from './net/dialer.ts'
import { Listener } from './net/listener.ts'
import { UpstreamProbe } from './net/upstream-probe.ts'
import { UpstreamTls } from './net/upstream-tls.ts'
import { loadPolicy } from './policy/document.ts'
import type { Policy } from './policy/policy.ts'
import { bindOptionsOf } from './session/bind-options.ts'
import type { SessionContext } from './session/context.ts'
import { CONNECT_REFUSALS, END_CAUSES, OUTCOME_NAMES, SESSION_FAULTS } from './session/outcome.ts'
import { type SessionSlots, SHADOWED_ROWS } from './session/recorder.ts'
import { SessionRegistry } from './session/registry.ts'
import { SessionMemory } from './session/session-memory.ts'
import { AdminServer, isReady, type ReadyCheck } from './telemetry/admin.ts'
import { type Catalogue, declareCatalogue, type RELOADS } from './telemetry/catalogue.ts'
import { DecisionTimes } from './telemetry/decision-times.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import { Metrics } from './telemetry/metrics.ts'
import { slotOf, Tally } from './telemetry/tally.ts'
import { FAULTS } from './wire/fault.ts'

/** MQTT sessions remembered after their connection ended. */
const REMEMBERED_SESSIONS = 10_000

/** A policy file that cannot be used: `problems` says all that is wrong with it. */
export class PolicyError extends PosternError {
  readonly problems: readonly Problem[]
  constructor(file: string, problems: readonly Problem[]) {
    super('ERR_POLICY', 'internal', `${file} is not a usable policy`)
    this.problems = problems
  }
}

/** @throws PolicyError; PosternError ERR_POLICY_FILE when it cannot be read */
export async function readPolicy(file: string): Promise<Policy> {
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new PosternError('ERR_POLICY_FILE', 'internal', `cannot read the policy: ${cause.message}`, {
      cause,
    })
  })
  const loaded = loadPolicy(text, file, (canonical) => hash('sha256', canonical))
  if ('problems' in loaded) throw new PolicyError(file, loaded.problems)
  return loaded.policy
}

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
  #issuers: IssuerRuntime[] = []
  #context!: SessionContext
  #registry!: SessionRegistry
  #admin: AdminServer | undefined
  #policyLoadedMs = 0
  #stopWatching: (() => void)[] = []
  /** Reloads run one after another, the first after the start, so that what was read last is what stays. */
  #lastReload: Promise<void> = Promise.resolve()
  #stopping = false
  #closed = false

  constructor(config: Config, options: AppOptions) {
    this.config = config
    this.#clock = options.clock ?? systemClock
    this.#version = options.version
    this.#output = options.output ?? process.stdout
    this.logger = options.logger ?? createLogger({ level: config.log.level, clock: this.#clock })
    this.#catalogue = declareCatalogue(this.tally, {
      verdicts: OUTCOME_NAMES,
      shadowed: SHADOWED_ROWS,
      authFailures: [...new Set([...AUTH_FAILURES, ...Object.keys(CONNECT_REFUSALS)])],
      faults: [...FAULTS, ...SESSION_FAULTS].map((fault) => fault.name),
      endCauses: Object.keys(END_CAUSES),
      issuers: config.issuers.map((issuer) => issuer.issuer),
    })
    const { tls } = config.upstream
    this.#tls = tls && new UpstreamTls(tls, config.upstream)
    this.#upstream = new UpstreamProbe(config.upstream, this.#clock, (reachable) => {
      if (reachable === true) this.logger.info({}, 'the broker can be reached')
      else this.logger.warn({}, reachable)
    })
    this.#checks = [
      { name: 'draining', ok: () => !this.#context.draining || 'Postern is shutting down.' },
      { name: 'keys', ok: () => this.#keysReady() },
      { name: 'audit', ok: () => this.#audit.accepting || 'The audit log cannot be written.' },
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
    this.#lastReload = started.catch(() => {})
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
    await this.#watch()
    await this.#tls?.load()
    const policy = await readPolicy(config.policy.file)
    this.#issuers = await openIssuers(config.issuers, this.#clock, (issuer, result) => {
      this.tally.add(slotOf(this.#catalogue.keyFetches, result === 'ok' ? 'ok' : 'failed'))
      if (result !== 'ok') logger.warn({ issuer, result }, 'keys could not be fetched')
    })
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
    this.#policyLoadedMs = this.#clock.now()
    const times = new DecisionTimes()
    this.#context = this.#makeContext(policy, times)
    this.#registry = new SessionRegistry(this.#context)
    await this.#openAdmin(times)
    const headerTimeout = { clock: this.#clock, ms: config.limits.connectTimeout }
    for (const listener of config.listeners) {
      const bound = new Listener(listener, this.#registry, headerTimeout, (error) => {
        logger.error({ listener: listener.name, err: error }, 'a connection could not be accepted')
      })
      await bound.listen()
      this.listeners.push(bound)
      logger.info({ listener: bound.name, address: bound.address }, 'listening')
    }
    this.#upstream.start()
    this.#audit.append({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' })
  }

  /** Resolves when every record so far is on disk. */
  flushAudit(): Promise<void> {
    return this.#audit.flush()
  }

  /** Reads policy and key files again. What is bad is reported and stays as it was. */
  reload(): Promise<void> {
    return this.#reloadInTurn(async () => {
      await this.#reloadPolicy()
      await Promise.all(this.#issuers.map((issuer) => this.#reloadKeys(issuer)))
      await this.#reloadTls()
    })
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
    this.#closed = true
    this.#upstream.stop()
    for (const stop of this.#stopWatching) stop()
    for (const listener of this.listeners) listener.close()
    await this.#admin?.close()
    await Promise.all(this.#issuers.map((issuer) => issuer.keys.close()))
    await this.#audit?.close()
  }

  #makeContext(policy: Policy, times: DecisionTimes): SessionContext {
    const { config } = this
    const verifier = new TokenVerifier(this.#issuers, this.#clock, { maxBytes: config.token.maxBytes })
    const authenticator = new Authenticator(verifier, config, this.#clock)
    return {
      config,
      clock: this.#clock,
      audit: this.#audit,
      digest: this.#audit.digest,
      pseudonym: this.#audit.pseudonym,
      tally: this.tally,
      slots: this.#slots(),
      logger: this.logger,
      admit: (source, connect, peerHost) => authenticator.authenticate(source, connect, peerHost),
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

  #slots(): SessionSlots {
    const c = this.#catalogue
    const connects = new Map(c.connects.rows.map(([, reason], i) => [reason, c.connects.first + i]))
    const ended = new Map(c.sessionsEnded.rows.map(([cause], i) => [cause, c.sessionsEnded.first + i]))
    const faults = FAULTS.length + SESSION_FAULTS.length
    return {
      publishes: c.publishes.first,
      subscribes: c.subscribes.first,
      deliveries: c.deliveries.first,
      wills: c.wills.first,
      shadowed: c.shadowed.first,
      connect: (reason) => connects.get(reason)!,
      ended: (cause) => ended.get(cause)!,
      clientFaults: c.protocolErrors.first,
      serverFaults: c.protocolErrors.first + faults,
      packets: c.packets.first,
      bytes: c.bytes.first,
      connections: c.connections.first,
    }
  }

  async #openAdmin(times: DecisionTimes): Promise<void> {
    const { admin } = this.config
    if (admin === undefined) return
    const metrics = new Metrics(this.tally)
    const c = this.#catalogue
    metrics.decisionTimes(times)
    metrics.buildInfo(this.#version, process.version)
    metrics.policyInfo(() => this.#context.policyInForce.policy.version)
    metrics.gauge(c.auditPendingBytes, () => this.#audit.pendingBytes)
    metrics.gauge(c.keySetAge, (row) => (this.#issuers[row]!.keys.ageMs() ?? Number.NaN) / 1000)
    metrics.gauge(c.policyLoaded, () => this.#policyLoadedMs / 1000)
    metrics.gauge(c.shadowMode, () => (this.#inShadow() ? 1 : 0))
    metrics.gauge(c.ready, () => (this.ready ? 1 : 0))
    this.#admin = new AdminServer({ address: admin.address, metrics, checks: this.#checks })
    await this.#admin.listen()
    this.logger.info({ address: this.adminUrl }, 'admin endpoints')
  }

  async #watch(): Promise<void> {
    const { policy, issuers } = this.config
    const watch = async (file: string, reload: () => Promise<void>): Promise<void> => {
      const stop = await watchFile(file, this.#clock, () => void this.#reloadInTurn(reload))
      this.#stopWatching.push(stop)
    }
    await watch(policy.file, () => this.#reloadPolicy())
    for (const file of this.#tls?.files ?? []) await watch(file, () => this.#reloadTls())
    for (const [i, { jwks }] of issuers.entries()) {
      if (jwks.file !== undefined) await watch(jwks.file, () => this.#reloadKeys(this.#issuers[i]!))
    }
  }

  async #reloadTls(): Promise<void> {
    if (this.#tls === undefined) return
    const source = this.#tls.files.join(', ')
    try {
      await this.#tls.load()
      this.#reloaded('tls', 'ok', source)
    } catch (error) {
      this.#reloaded('tls', 'failed', source, error)
    }
  }

  #reloadInTurn(reload: () => Promise<void>): Promise<void> {
    this.#lastReload = this.#lastReload.then(() => (this.#closed ? undefined : reload()))
    return this.#lastReload
  }

  async #reloadPolicy(): Promise<void> {
    const { file } = this.config.policy
    try {
      const policy = await readPolicy(file)
      this.#audit.policy = policy.version
      this.#registry.usePolicy(policy)
      this.#policyLoadedMs = this.#clock.now()
      this.#reloaded('policy', 'ok', file)
    } catch (error) {
      const problems = error instanceof PolicyError ? error.problems : undefined
      this.#reloaded('policy', 'failed', file, error, problems)
    }
  }

  async #reloadKeys({ config, keys }: IssuerRuntime): Promise<void> {
    const { file } = config.jwks
    // From a URL they are fetched, and how that went is told as for every fetch.
    if (file === undefined) return keys.load()
    try {
      await keys.load()
      this.#reloaded('keys', 'ok', file)
    } catch (error) {
      this.#reloaded('keys', 'failed', file, error)
    }
  }

  #reloaded(
    what: (typeof RELOADS)[number],
    result: 'ok' | 'failed',
    source: string,
    error?: unknown,
    problems?: readonly Problem[],
  ): void {
    this.tally.add(slotOf(this.#catalogue.reloads, what, result))
    const ok = result === 'ok'
    this.#audit.append({
      action: what,
      decision: ok ? 'allow' : 'deny',
      reason: ok ? 'ok' : 'reload_failed',
      effect: ok ? 'in force' : 'the former one stays in force',
      detail: source,
    })
    if (ok) this.logger.info({ what, source }, 'reloaded')
    else
      this.logger.error(
        { what, source, err: error, problems },
        'reload failed; the former one stays in force',
      )
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
