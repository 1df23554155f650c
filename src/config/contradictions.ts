// What no single key can see: keys that exclude, need or defeat one another. Works on a file of which parts may be
// missing, so that these problems are reported together with the misspelt ones. Pure.
import { isAbsolute, join, normalize } from 'node:path'
import { auditContradictions } from './audit-contradictions.ts'
import type { Address } from './config.ts'
import { credentialContradictions } from './credential-contradictions.ts'
import { delegationContradictions } from './delegation-contradictions.ts'
import type { Path } from './document.ts'
import { checkUrl } from './field-checks.ts'
import { isLoopback } from './fields.ts'
import { grantsContradictions } from './grants-contradictions.ts'
import { proofContradictions } from './proof-contradictions.ts'
import { revocationContradictions } from './revocation-contradictions.ts'
import type { FileConfig } from './schema.ts'
import { storeContradictions } from './store-contradictions.ts'
import { tokenCheckContradictions } from './token-check-contradictions.ts'
import { workloadContradictions } from './workload-contradictions.ts'

export interface Contradiction {
  path: Path
  /** Other keys it depends on: it is not reported while one of them has a problem of its own. */
  others?: readonly Path[]
  message: string
}

/** What could be read: a section, or an entry of a list, is undefined when it has problems of its own. */
export type PartialConfig = {
  [K in Exclude<keyof FileConfig, 'listeners' | 'issuers'>]?: FileConfig[K] | undefined
} & {
  listeners: readonly (FileConfig['listeners'][number] | undefined)[]
  issuers: readonly (FileConfig['issuers'][number] | undefined)[]
}

const PLACEHOLDERS = ['agent_id', 'user_id', 'org_id', 'client_id']

/**
 * @param written tells whether the file or the environment has this key (defaults have not)
 * @param file path of the configuration file; relative paths start at its directory
 */
export function findContradictions(
  config: PartialConfig,
  written: (path: Path) => boolean,
  file: string,
): Contradiction[] {
  return [
    ...addressContradictions(config),
    ...upstreamContradictions(config, written),
    ...config.issuers.flatMap((issuer, i) =>
      issuer === undefined ? [] : [...issuerContradictions(config, issuer, i)],
    ),
    ...duplicateIssuers(config),
    ...workloadContradictions(config),
    ...fileContradictions(config, file),
    ...auditContradictions(config),
    ...delegationContradictions(config),
    ...proofContradictions(config),
    ...clientIdContradictions(config, written),
    ...limitContradictions(config),
    ...revocationContradictions(config, file),
    ...credentialContradictions(config),
    ...grantsContradictions(config, file),
    ...storeContradictions(config),
  ]
}

function* addressContradictions(config: PartialConfig): Iterable<Contradiction> {
  const upstream = config.upstream?.address
  const admin = typeof config.admin === 'object' ? config.admin.address : undefined
  if (upstream?.kind === 'tcp' && upstream.port === 0) {
    yield {
      path: ['upstream', 'address'],
      message: 'Write the port on which the broker listens; 0 is for listeners only.',
    }
  }
  for (const [i, listener] of config.listeners.entries()) {
    if (listener === undefined) continue
    const path: Path = ['listeners', i, 'address']
    const { tls } = listener
    if (tls !== undefined && listener.proxyProtocolFrom.length > 0) {
      yield {
        path: ['listeners', i, 'tls'],
        others: [['listeners', i, 'proxyProtocolFrom']],
        message: 'A listener with `proxyProtocolFrom` has no TLS of its own: end TLS in one place.',
      }
    }
    if (tls !== undefined && (tls.clientCertificates === 'verify') !== (tls.clientCaFile !== undefined)) {
      yield {
        path: ['listeners', i, 'tls', 'clientCaFile'],
        others: [['listeners', i, 'tls', 'clientCertificates']],
        message: '`clientCertificates: verify` and `clientCaFile` go together: write both, or neither.',
      }
    }
    if (upstream !== undefined && isSame(listener.address, upstream)) {
      yield {
        path,
        others: [['upstream', 'address']],
        message:
          'This is the address of `upstream`: Postern would connect to itself. Move the broker or the listener to another port.',
      }
    }
    if (admin !== undefined && isTaken(listener.address, admin)) {
      yield {
        path: ['admin', 'address'],
        others: [path],
        message: `This is the address of \`listeners[${i}]\`: give the admin listener a port of its own.`,
      }
    }
    const earlier = config.listeners.slice(0, i)
    const twin = earlier.findIndex((other) => other !== undefined && isTaken(listener.address, other.address))
    if (twin >= 0) {
      yield {
        path,
        others: [['listeners', twin, 'address']],
        message: `\`listeners[${twin}]\` has this address already: give each listener a port of its own.`,
      }
    }
    const namesake = earlier.findIndex((other) => other?.name !== undefined && other.name === listener.name)
    if (namesake >= 0) {
      yield {
        path: ['listeners', i, 'name'],
        others: [['listeners', namesake, 'name']],
        message: `\`listeners[${namesake}]\` has this name already: audit records could not tell them apart.`,
      }
    }
  }
}

function* upstreamContradictions(
  { upstream }: PartialConfig,
  written: (path: Path) => boolean,
): Iterable<Contradiction> {
  if (upstream === undefined) return
  if (written(['upstream', 'password']) && written(['upstream', 'passwordFile'])) {
    yield {
      path: ['upstream', 'password'],
      others: [['upstream', 'passwordFile']],
      message: 'Both `password` and `passwordFile` are given: keep `passwordFile`.',
    }
  }
  const { tls } = upstream
  if (tls !== undefined && upstream.address.kind === 'unix') {
    yield {
      path: ['upstream', 'tls'],
      others: [['upstream', 'address']],
      message: 'A Unix socket needs no TLS: remove this, or write the broker’s host and port as `address`.',
    }
  }
  if (tls !== undefined && (tls.certFile === undefined) !== (tls.keyFile === undefined)) {
    const missing = tls.certFile === undefined ? 'certFile' : 'keyFile'
    yield {
      path: ['upstream', 'tls', missing],
      message: 'Missing. A client certificate needs both `certFile` and `keyFile`.',
    }
  }
  const unknown = (upstream.username ?? '').replace(/\{([^{}]*)\}/g, (whole, name) =>
    PLACEHOLDERS.includes(name) ? '' : whole,
  )
  if (/[{}]/.test(unknown)) {
    yield {
      path: ['upstream', 'username'],
      message: `A placeholder is unknown or not closed: only ${PLACEHOLDERS.map((p) => `\`{${p}}\``).join(', ')} are replaced.`,
    }
  }
}

function* issuerContradictions(
  config: PartialConfig,
  issuer: FileConfig['issuers'][number],
  i: number,
): Iterable<Contradiction> {
  const at = (...path: Path): Path => ['issuers', i, ...path]
  const { url, file, cacheAge, staleAge } = issuer.jwks
  if (issuer.audience === undefined && config.audience === undefined) {
    yield {
      path: at('audience'),
      others: [['audience']],
      message:
        'Missing. Write the audience that this issuer puts into `aud` for this proxy, here or once as `audience` at the top level.',
    }
  }
  if (url === undefined && file === undefined) {
    yield {
      path: at('jwks'),
      message: 'Missing. Write where the keys are: `url: https://…` or `file: keys.json`.',
    }
  }
  if (url !== undefined && file !== undefined) {
    yield {
      path: at('jwks', 'file'),
      others: [at('jwks', 'url')],
      message: 'Both `url` and `file` are given: keep one of them.',
    }
  }
  const urlProblem = url === undefined ? undefined : checkUrl(url)
  if (urlProblem !== undefined) yield { path: at('jwks', 'url'), message: urlProblem }
  if (staleAge < cacheAge) {
    yield {
      path: at('jwks', 'staleAge'),
      others: [at('jwks', 'cacheAge')],
      message:
        '`staleAge` is below `cacheAge`: write at least the same, since a set is not stale before it is due.',
    }
  }
  yield* tokenCheckContradictions(issuer, at)
  const owners = Object.keys(issuer.owners).length
  const isOwned = ['self', 'kubernetes', 'spiffe'].includes(issuer.mapping)
  if (isOwned && owners === 0) {
    yield {
      path: at('owners'),
      others: [at('mapping')],
      message: `Missing. Under \`mapping: ${issuer.mapping}\` write the human who answers for each agent, such as \`scout: alice\`.`,
    }
  }
  if (!isOwned && owners > 0) {
    yield {
      path: at('owners'),
      others: [at('mapping')],
      message: `Only \`mapping: self\`, \`kubernetes\` and \`spiffe\` read this: remove it, or the token’s own human would seem to be replaced.`,
    }
  }
  if (issuer.maxLifetime < issuer.leeway) {
    yield {
      path: at('maxLifetime'),
      others: [at('leeway')],
      message:
        '`maxLifetime` is below `leeway`: every token would live longer than it may. Write a longer lifetime or a smaller leeway.',
    }
  }
  if (issuer.ceilings.length === 0 && issuer.missingCeiling === 'deny') {
    yield {
      path: at('missingCeiling'),
      others: [at('ceilings')],
      message:
        'With `ceilings: []` no token has a ceiling, and `deny` would refuse everything: write `none`, or name the formats.',
    }
  }
}

function* duplicateIssuers(config: PartialConfig): Iterable<Contradiction> {
  for (const [i, issuer] of config.issuers.entries()) {
    const twin = config.issuers.findIndex((other) => other?.issuer === issuer?.issuer)
    if (issuer === undefined || twin === i) continue
    yield {
      path: ['issuers', i, 'issuer'],
      others: [['issuers', twin, 'issuer']],
      message: `\`issuers[${twin}]\` is this issuer already: put both key sets behind one entry.`,
    }
  }
}

/** The audit log is appended to: in any other file that would be damage. */
function* fileContradictions(config: PartialConfig, file: string): Iterable<Contradiction> {
  if (config.audit === undefined) return
  const directory = join(file, '..')
  const plain = (path: string): string => normalize(isAbsolute(path) ? path : join(directory, path))
  const audit = plain(config.audit.file)
  const readFiles: [Path, string | undefined][] = [
    [['policy', 'file'], config.policy?.file],
    [['upstream', 'passwordFile'], config.upstream?.passwordFile],
    [['upstream', 'tls', 'keyFile'], config.upstream?.tls?.keyFile],
    [['audit', 'digestKeyFile'], config.audit.digestKeyFile],
    [['audit', 'checkpoints', 'keyFile'], config.audit.checkpoints.keyFile],
    ...config.issuers.map((issuer, i): [Path, string | undefined] => [
      ['issuers', i, 'jwks', 'file'],
      issuer?.jwks.file,
    ]),
  ]
  for (const [path, other] of readFiles) {
    if (other === undefined || plain(other) !== audit) continue
    yield {
      path: ['audit', 'file'],
      others: [path],
      message: `This is \`${dotted(path)}\`: give the audit log a file of its own.`,
    }
  }
  if (audit === normalize(file)) {
    yield {
      path: ['audit', 'file'],
      message: 'This is the configuration file itself: give the audit log a file of its own.',
    }
  }
}

function* clientIdContradictions(
  { clientId }: PartialConfig,
  written: (path: Path) => boolean,
): Iterable<Contradiction> {
  if (clientId === undefined || clientId.binding === 'prefix' || !written(['clientId', 'separator'])) return
  yield {
    path: ['clientId', 'separator'],
    others: [['clientId', 'binding']],
    message: `Only \`binding: prefix\` uses a separator: remove it, or write that binding.`,
  }
}

function* limitContradictions({ limits, token }: PartialConfig): Iterable<Contradiction> {
  if (limits === undefined) return
  if (token !== undefined && limits.connectBytes < token.maxBytes) {
    yield {
      path: ['limits', 'connectBytes'],
      others: [['token', 'maxBytes']],
      message:
        'A CONNECT holds the token, so this is at least `token.maxBytes` and some hundred bytes: write a larger size, or lower `token.maxBytes`.',
    }
  }
  if (limits.packetBytes < limits.connectBytes) {
    yield {
      path: ['limits', 'packetBytes'],
      others: [['limits', 'connectBytes']],
      message:
        '`packetBytes` bounds every packet, so it is at least `connectBytes`: raise it, or lower the other.',
    }
  }
}

/** True when a connection to `target` would arrive at `listener`. */
function isSame(listener: Address, target: Address): boolean {
  if (listener.kind !== target.kind) return false
  if (listener.kind === 'unix') return listener.path === target.path
  if (listener.port !== target.port || listener.port === 0) return false
  const wildcard = isWildcard(listener) && (isLoopback(target) || isWildcard(target))
  const loopback =
    isLoopback(listener) &&
    isLoopback(target) &&
    (listener.host === 'localhost' || target.host === 'localhost')
  return wildcard || loopback || listener.host.toLowerCase() === target.host.toLowerCase()
}

/** True when not both can be bound. */
function isTaken(a: Address, b: Address): boolean {
  const samePort = a.kind === 'tcp' && b.kind === 'tcp' && a.port === b.port && a.port !== 0
  return isSame(a, b) || isSame(b, a) || (samePort && (isWildcard(a) || isWildcard(b)))
}

function isWildcard(address: Address): boolean {
  return address.host === '0.0.0.0' || address.host === '::'
}

/** `['issuers', 0, 'jwks']` as `issuers[0].jwks`. */
export function dotted(path: Path): string {
  return path.reduce<string>(
    (text, segment) =>
      typeof segment === 'number' ? `${text}[${segment}]` : text === '' ? segment : `${text}.${segment}`,
    '',
  )
}
