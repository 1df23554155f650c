// `postern sts`, put together: keys, providers, clients, what was used, the audit log, HTTP. A process of its own, beside
// the proxy and without it. Started, reloaded and stopped by the command.

import { AuditLog } from '../audit/audit-log.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { StsConfig } from '../config/sts-config.ts'
import { openKeys } from '../identity/issuers.ts'
import { type ReloadOutcome, Reloads } from '../reloads.ts'
import { createLogger, type Logger } from '../telemetry/logger.ts'
import { readSecrets, type StsClient } from './client-auth.ts'
import { HttpServer } from './http-server.ts'
import type { Provider } from './id-jag.ts'
import { metadataOf, PATHS } from './metadata.ts'
import { SigningKeys } from './signing-keys.ts'
import { TokenEndpoint } from './token-endpoint.ts'
import { UsedAssertions } from './used-assertions.ts'

/** Segments of the audit log: days, and none is removed. */
const SEGMENTS = { bytes: 64 * 1024 * 1024, ageMs: 24 * 3_600_000, keep: 0, keepForMs: 0 }
const MAX_PENDING_BYTES = 8 * 1024 * 1024
const FLUSH_MS = 100

export class Sts {
  readonly logger: Logger
  readonly #config: StsConfig
  readonly #clock: Clock
  readonly #reloads: Reloads
  readonly #providers = new Map<string, Provider>()
  readonly #clients = new Map<string, StsClient>()
  #keys!: SigningKeys
  #used: UsedAssertions | undefined
  #audit: AuditLog | undefined
  #http: HttpServer | undefined

  constructor(config: StsConfig, options: { clock?: Clock; logger?: Logger } = {}) {
    this.#config = config
    this.#clock = options.clock ?? systemClock
    this.logger = options.logger ?? createLogger({ level: config.log.level, clock: this.#clock })
    this.#reloads = new Reloads(this.#clock, (outcome) => this.#reloaded(outcome))
  }

  /** Where it listens; known after `start`. */
  get address(): string {
    return this.#http?.address ?? ''
  }

  /** Loads everything and binds. Nothing stays open when it fails. @throws PosternError of the part that failed */
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

  /** Reads keys, secrets and certificates again. What is bad is told of and stays as it was. Never rejects. */
  reload(): Promise<void> {
    return this.#reloads.all()
  }

  /** Answers what was asked, then ends. */
  async stop(): Promise<void> {
    this.#audit?.append({ action: 'stop', decision: 'allow', reason: 'ok', effect: 'stopped' })
    await this.#close()
  }

  async #start(): Promise<void> {
    const config = this.#config
    const { keysFile, providers, clients, replayFile, auditFile, tls } = config
    await this.#reloads.watch({ what: 'keys', files: [keysFile], load: () => this.#keys.load() })
    for (const provider of providers) await this.#openProvider(provider)
    for (const client of clients) await this.#openClient(client)
    if (tls !== undefined) {
      const files = [tls.certFile, tls.keyFile]
      await this.#reloads.watch({ what: 'tls', files, load: () => this.#http!.reloadTls() })
    }
    this.#keys = await SigningKeys.open(keysFile)
    this.#used = await UsedAssertions.open(replayFile, this.#clock)
    this.#audit = await this.#openAudit(auditFile)
    const endpoint = new TokenEndpoint({
      config,
      clock: this.#clock,
      logger: this.logger,
      audit: this.#audit,
      keys: this.#keys,
      used: this.#used,
      clients: this.#clients,
      providers: this.#providers,
    })
    const metadata = metadataOf(config)
    this.#http = new HttpServer({
      config,
      documents: new Map<string, () => unknown>([
        [PATHS.jwks, () => this.#keys.published],
        [PATHS.metadata, () => metadata],
      ]),
      tokenPath: PATHS.token,
      token: (request) => endpoint.answer(request),
      ready: () => this.#isReady(),
      onPanic: (error) => this.logger.error({ err: error }, 'a mistake of ours failed one request'),
    })
    await this.#http.listen()
    this.#audit.append({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' })
    this.logger.info({ address: this.address, issuer: config.issuer, profile: config.profile }, 'listening')
  }

  async #openProvider(config: StsConfig['providers'][number]): Promise<void> {
    const keys = openKeys(config, this.#clock, (issuer, result) => {
      if (result !== 'ok') this.logger.warn({ issuer, result }, 'keys could not be fetched')
    })
    this.#providers.set(config.issuer, { config, keys })
    await this.#watchKeys(config.jwks.file, () => keys.load())
    await keys.load()
  }

  async #openClient(config: StsConfig['clients'][number]): Promise<void> {
    const { id, jwks, algorithms, secretFile } = config
    const keys =
      jwks &&
      openKeys({ issuer: id, jwks, algorithms }, this.#clock, (client, result) => {
        if (result !== 'ok') this.logger.warn({ client, result }, 'keys could not be fetched')
      })
    const client: StsClient = { config, keys, secrets: [] }
    this.#clients.set(id, client)
    if (keys !== undefined) {
      await this.#watchKeys(jwks!.file, () => keys.load())
      await keys.load()
    }
    if (secretFile !== undefined) {
      const load = async (): Promise<void> => {
        client.secrets = await readSecrets(secretFile)
      }
      await this.#watchKeys(secretFile, load)
      await load()
    }
  }

  /** @param file undefined: it is fetched from a URL, which tells of itself */
  #watchKeys(file: string | undefined, load: () => Promise<void>): Promise<void> {
    return this.#reloads.watch({ what: 'keys', files: file === undefined ? [] : [file], load })
  }

  #openAudit(path: string): Promise<AuditLog> {
    return AuditLog.open(path, {
      clock: this.#clock,
      instance: this.#config.issuer,
      policy: '',
      durability: 'write-ahead',
      onFailure: 'deny',
      flushInterval: FLUSH_MS,
      maxPending: MAX_PENDING_BYTES,
      segments: SEGMENTS,
      observer: {
        written: () => {},
        lost: (records) => this.logger.error({ records }, 'audit records are lost'),
        failed: (error) => this.logger.error({ err: error }, 'the audit log cannot be written'),
        recovered: () => this.logger.info({}, 'the audit log can be written again'),
        segmentFailed: (error) =>
          this.logger.error({ err: error }, 'a closed segment of the audit log cannot be compressed'),
      },
    })
  }

  #isReady(): true | string {
    if (this.#audit?.accepting !== true) return 'The audit log cannot be written.'
    const waiting = [...this.#providers.values()].filter(({ keys }) => !keys.ready())
    if (waiting.length === 0) return true
    return `No usable keys for ${waiting.map(({ config }) => config.issuer).join(', ')}.`
  }

  #reloaded({ what, source, error }: ReloadOutcome): void {
    const ok = error === undefined
    this.#audit?.append({
      action: what,
      decision: ok ? 'allow' : 'deny',
      reason: ok ? 'ok' : 'reload_failed',
      effect: ok ? 'in force' : 'the former one stays in force',
      detail: source,
    })
    if (ok) this.logger.info({ what, source }, 'reloaded')
    else this.logger.error({ what, source, err: error }, 'reload failed; the former one stays in force')
  }

  async #close(): Promise<void> {
    this.#reloads.close()
    await this.#http?.close()
    await Promise.all([...this.#providers.values()].map(({ keys }) => keys.close()))
    await Promise.all([...this.#clients.values()].map(({ keys }) => keys?.close()))
    await this.#used?.close()
    await this.#audit?.close()
  }
}
