// Settings that are legal and weaken something: what `postern check` points out. Pure.
import type { Config } from './config.ts'
import type { Path } from './document.ts'
import { isLoopback, isLoopbackHost } from './fields.ts'
import type { FileConfig } from './schema.ts'

export interface Warning {
  path: Path
  message: string
}

const LONG_LIFETIME_MS = 3_600_000

export function findWarnings(config: Config, file: FileConfig): Warning[] {
  return [...addressWarnings(config, file), ...issuerWarnings(config), ...settingWarnings(config)]
}

function* addressWarnings(config: Config, file: FileConfig): Iterable<Warning> {
  for (const [i, { mode }] of config.listeners.entries()) {
    if (mode === 'enforce') continue
    yield {
      path: ['listeners', i, 'mode'],
      message:
        'Nothing is denied here but invalid tokens: read `postern shadow report`, then write `mode: enforce`.',
    }
  }
  for (const [i, { address, tls }] of config.listeners.entries()) {
    if (isLoopback(address) || tls !== undefined) continue
    yield {
      path: ['listeners', i, 'address'],
      message:
        'Tokens cross the network in clear text: listen on loopback beside the agent, or put TLS in front.',
    }
  }
  for (const [i, { address, credentialSource, proxyProtocolFrom }] of config.listeners.entries()) {
    if (credentialSource === undefined || (isLoopback(address) && proxyProtocolFrom.length === 0)) continue
    yield {
      path: ['listeners', i, 'credentialSource', 'allowRemote'],
      message:
        'Everybody who reaches this address acts as the agent, without any credential: listen on loopback or a Unix socket.',
    }
  }
  const { address, username, password, tls } = config.upstream
  if (!isLoopback(address) && tls === undefined) {
    yield {
      path: ['upstream', 'address'],
      message:
        'The broker is reached over the network in clear text: see to it that nobody but Postern can reach it, or they go around Postern.',
    }
  }
  if (username === undefined && password === undefined && tls?.certFile === undefined) {
    yield {
      path: ['upstream'],
      message:
        'No `username`: a broker that accepts this accepts everybody who can reach it. Give Postern a credential of its own.',
    }
  }
  if (file.upstream.password !== undefined) {
    yield {
      path: ['upstream', 'password'],
      message:
        'A password in the configuration is easily copied along with it: write `passwordFile` in its place.',
    }
  }
  if (config.admin === undefined) {
    yield { path: ['admin'], message: 'No metrics, and no health checks for whoever restarts this process.' }
  } else if (!isLoopback(config.admin.address)) {
    yield {
      path: ['admin', 'address'],
      message:
        'Everybody who can reach this address can read the metrics: keep it to the network of your monitoring.',
    }
  }
}

function* issuerWarnings(config: Config): Iterable<Warning> {
  for (const [i, issuer] of config.issuers.entries()) {
    const at = (...path: Path): Path => ['issuers', i, ...path]
    if (issuer.legacyTyp) {
      yield {
        path: at('legacyTyp'),
        message:
          'Other kinds of JWT from this issuer, such as ID tokens, pass for access tokens when their audience fits.',
      }
    }
    if (!issuer.requireClientId) {
      yield {
        path: at('requireClientId'),
        message: 'Tokens without `client_id` do not say which client they were given to.',
      }
    }
    if (issuer.maxLifetime > LONG_LIFETIME_MS) {
      yield {
        path: at('maxLifetime'),
        message: 'A stolen token works for more than an hour: have it issued for less.',
      }
    }
    if (issuer.claims.tenant !== undefined && config.clientId.binding === 'exact') {
      yield {
        path: at('claims', 'tenant'),
        message:
          'Agents of two tenants with the same id have one Client Identifier and end each other’s connections: write `clientId.binding: prefix`, or have ids issued that differ.',
      }
    }
    if (issuer.ceilings.length === 0) {
      yield {
        path: at('ceilings'),
        message: 'A token that limits itself is not listened to: name the formats it may use.',
      }
    }
  }
}

function* settingWarnings(config: Config): Iterable<Warning> {
  if (config.clientId.binding === 'any') {
    yield {
      path: ['clientId', 'binding'],
      message:
        'Anybody with a valid token can take over any session by its Client Identifier: write `exact` or `prefix`.',
    }
  }
  if (config.clientId.binding === 'prefix') {
    yield {
      path: ['clientId', 'binding'],
      message: `An agent id that holds \`${config.clientId.separator}\` may look like another agent with a suffix: have agent ids issued without it.`,
    }
  }
  if (config.token.fromUsername) {
    yield {
      path: ['token', 'fromUsername'],
      message: 'Clients and their logs treat a User Name as public: send the token as Password.',
    }
  }
  if (config.policy.userLayer === 'none') {
    yield {
      path: ['policy', 'userLayer'],
      message: 'An agent may do what its human may not: write `required`.',
    }
  }
  if (config.denial.overlappingDeny === 'filter') {
    yield {
      path: ['denial', 'overlappingDeny'],
      message:
        'The broker holds subscriptions that reach denied topics, and only the check at delivery keeps those messages back.',
    }
  }
  if (config.denial.delivery === 'disconnect') {
    yield {
      path: ['denial', 'delivery'],
      message:
        'Whoever publishes to a topic that an agent lost the right to can end that agent’s connection.',
    }
  }
  if (config.sessions.delegated === 'resume') {
    yield {
      path: ['sessions', 'delegated'],
      message:
        'A session outlives its token: messages queue up in the broker for an agent that may have lost its mandate. Two humans of one agent share its name, and who had it before is not known after a restart.',
    }
  }
  if (config.sessions.unknownRelease === 'forward') {
    yield {
      path: ['sessions', 'unknownRelease'],
      message: 'A message that no policy of this process judged may be released to subscribers.',
    }
  }
  if (config.store?.onFailure === 'continue') {
    yield {
      path: ['store', 'onFailure'],
      message:
        'While the store is down, whoever another replica cuts stays connected here and can come back.',
    }
  }
  const { url } = config.store ?? {}
  if (url?.startsWith('redis:') && !isLoopbackHost(new URL(url).hostname)) {
    yield {
      path: ['store', 'url'],
      message: 'Who is cut, and the password, cross the network in clear text: write `rediss://`.',
    }
  }
  if (config.audit.onFailure === 'continue') {
    yield {
      path: ['audit', 'onFailure'],
      message: 'While the log cannot be written, actions leave no trace but a counter.',
    }
  }
}
