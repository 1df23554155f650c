// One configuration file to one effective configuration, or to all its problems at once. Reads no file but the one
// that holds the broker password, and that through an injected function.
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import type { Problem } from '../errors.ts'
import type { Config, IntrospectionConfig, IssuerConfig, StoreConfig, TlsConfig } from './config.ts'
import { type Contradiction, dotted, findContradictions, type PartialConfig } from './contradictions.ts'
import type { CredentialSourceConfig } from './credential-config.ts'
import { type Path, readSource, type SourceText } from './document.ts'
import { applyEnvironment, type Overrides } from './environment.ts'
import { formatAddress } from './fields.ts'
import { byPlace, explain, type Finding, valueAt } from './findings.ts'
import { configJsonSchema, configSchema, type FileConfig } from './schema.ts'
import { findWarnings } from './warnings.ts'

/** Files that a configuration names and that others read, by absolute path. */
export interface NamedFiles {
  policy: string | undefined
  keys: {
    path: string
    algorithms: readonly string[]
    maxBytes: number
    use?: 'sig' | 'jwt-svid' | undefined
  }[]
}

export type LoadResult =
  | { config: Config; warnings: Problem[] }
  /** `files`: those that could be made out, so that their problems can be told of at once. */
  | { problems: Problem[]; files: NamedFiles }

/**
 * @param text the file, YAML or JSON
 * @param file its path, for messages and as the place that relative paths start from
 * @param env the process environment; only `POSTERN_…` is looked at
 * @param readFile reads `upstream.passwordFile`, by absolute path
 * @returns the configuration with every default and path filled in, and what `check` should warn of; or every problem
 */
export function loadConfig(
  text: string,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): LoadResult {
  const source = readSource(text)
  const broken = source.errors.map((e): Problem => ({ file, line: e.line, path: '', message: e.message }))
  if (source.value === undefined) return { problems: broken, files: { policy: undefined, keys: [] } }
  const overrides = applyEnvironment(source.value ?? {}, env)
  const place = (finding: Finding): Problem => placed(finding, file, source, overrides)

  const parsed = configSchema.safeParse(overrides.value)
  const findings = parsed.success
    ? []
    : parsed.error.issues.flatMap((issue) => explain(issue, overrides.value, configJsonSchema))
  const readable = parsed.success ? parsed.data : readableParts(overrides.value, findings)
  const written = (path: Path): boolean => valueAt(overrides.value, path) !== undefined
  for (const contradiction of findContradictions(readable, written, file)) {
    if (!concernsAny(contradiction, findings)) findings.push(contradiction)
  }
  const password = readPassword(readable.upstream, file, readFile)
  if (typeof password === 'object')
    findings.push({ path: ['upstream', 'passwordFile'], message: password.problem })

  const problems = [...broken, ...overrides.problems, ...findings.map(place)].sort(byPlace)
  if (problems.length > 0 || !parsed.success || typeof password === 'object') {
    return { problems, files: namedFiles(readable, dirname(file)) }
  }
  const config = toConfig(parsed.data, password, dirname(file))
  return { config, warnings: findWarnings(config, parsed.data).map(place) }
}

function placed(finding: Finding, file: string, source: SourceText, overrides: Overrides): Problem {
  const path = dotted(finding.path)
  for (let length = finding.path.length; length > 0; length--) {
    const variable = overrides.variables.get(finding.path.slice(0, length).join('\0'))
    if (variable !== undefined)
      return { file: 'environment', path, message: `${variable}: ${finding.message}` }
  }
  return { file, line: source.lineOf(finding.path), path, message: finding.message }
}

/** The sections and list entries that are in order once the keys with problems are taken out. */
function readableParts(root: unknown, findings: readonly Finding[]): PartialConfig {
  const pruned = structuredClone(root)
  for (const { path } of findings) {
    const last = path.at(-1)
    const parent = valueAt(pruned, path.slice(0, -1))
    // A list of sections keeps its length, so that the numbers in paths stay true; a list of words goes as a whole.
    if (Array.isArray(parent) && path.length === 2) parent[Number(last)] = undefined
    else if (Array.isArray(parent)) remove(valueAt(pruned, path.slice(0, -2)), path.at(-2))
    else remove(parent, last)
  }
  const { listeners, issuers, ...sections } = configSchema.shape
  const entries = <T>(schema: z.ZodType<T>, key: string): (T | undefined)[] => {
    const list = valueAt(pruned, [key])
    return Array.isArray(list) ? list.map((entry) => schema.safeParse(entry).data) : []
  }
  const parts: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(sections))
    parts[key] = schema.safeParse(valueAt(pruned, [key])).data
  return {
    ...parts,
    listeners: entries(listeners.element, 'listeners'),
    issuers: entries(issuers.element, 'issuers'),
  }
}

function remove(section: unknown, key: string | number | undefined): void {
  if (typeof section === 'object' && section !== null) Reflect.deleteProperty(section, String(key))
}

/** A contradiction with a key that is wrong anyway would send its reader after a ghost. */
function concernsAny(contradiction: Contradiction, findings: readonly Finding[]): boolean {
  const paths = [contradiction.path, ...(contradiction.others ?? [])]
  return findings.some((finding) =>
    paths.some((path) => isWithin(path, finding.path) || isWithin(finding.path, path)),
  )
}

function isWithin(outer: Path, inner: Path): boolean {
  return outer.length <= inner.length && outer.every((segment, i) => segment === inner[i])
}

function readPassword(
  upstream: FileConfig['upstream'] | undefined,
  file: string,
  readFile: (path: string) => string,
): string | undefined | { problem: string } {
  if (upstream?.passwordFile === undefined) return upstream?.password
  try {
    const password = readFile(resolve(dirname(file), upstream.passwordFile)).replace(/\r?\n$/, '')
    return password === ''
      ? { problem: 'The file is empty: put the password into its first line.' }
      : password
  } catch (error) {
    const code = (error as { code?: unknown }).code ?? 'unknown reason'
    return { problem: `The file cannot be read (${code}): check the path and its permissions.` }
  }
}

function namedFiles({ policy, issuers }: PartialConfig, directory: string): NamedFiles {
  return {
    policy: policy && resolve(directory, policy.file),
    keys: issuers.flatMap((issuer) => {
      if (issuer?.jwks.file === undefined) return []
      const { jwks, algorithms } = issuer
      const { maxBytes, use } = jwks
      return [{ path: resolve(directory, jwks.file!), algorithms, maxBytes, use }]
    }),
  }
}

function toConfig(file: FileConfig, password: string | undefined, directory: string): Config {
  const inDirectory = (path: string): string => resolve(directory, path)
  const inDirectoryIf = (path: string | undefined): string | undefined => path && inDirectory(path)
  const { audience, upstream, admin, revocation, store } = file
  return {
    instance: file.instance,
    workers: file.workers,
    coalesceQos0: file.coalesceQos0,
    listeners: file.listeners.map(({ name, address, tls, credentialSource, ...settings }) => ({
      name: name ?? formatAddress(address),
      address,
      ...settings,
      ...(tls === undefined ? {} : { tls: tlsInPlace(tls, inDirectory) }),
      ...(credentialSource === undefined
        ? {}
        : { credentialSource: sourceInPlace(credentialSource, inDirectoryIf) }),
    })),
    upstream: {
      address: upstream.address,
      connectTimeout: upstream.connectTimeout,
      username: upstream.username,
      password,
      tls: upstream.tls && {
        caFile: inDirectoryIf(upstream.tls.caFile),
        certFile: inDirectoryIf(upstream.tls.certFile),
        keyFile: inDirectoryIf(upstream.tls.keyFile),
        serverName: upstream.tls.serverName,
      },
      proxyProtocol: upstream.proxyProtocol,
    },
    issuers: file.issuers.map((entry): IssuerConfig => {
      const { issuer, audience: own, jwks, claims, statusList, introspection, ...settings } = entry
      const { url, file: keys, ...fetching } = jwks
      const { agentId, userId, tenant, attributes } = claims
      return {
        issuer,
        audience: own ?? audience ?? [],
        jwks: { url, file: keys === undefined ? undefined : inDirectory(keys), ...fetching },
        claims: { agentId, userId, tenant, attributes },
        ...(typeof statusList === 'object' ? { statusList } : {}),
        ...(typeof introspection === 'object'
          ? { introspection: inPlaceOf(introspection, inDirectory) }
          : {}),
        ...settings,
      }
    }),
    token: { ...file.token, topic: file.token.topic === 'off' ? undefined : file.token.topic },
    proof: {
      ...file.proof,
      dpop: file.proof.dpop === 'off' ? undefined : file.proof.dpop,
      aceKeysFile: inDirectoryIf(file.proof.aceKeysFile),
    },
    delegation: {
      ...file.delegation,
      property: file.delegation.property === 'off' ? undefined : file.delegation.property,
    },
    clientId: file.clientId,
    policy: { ...file.policy, file: inDirectory(file.policy.file) },
    denial: file.denial,
    sessions: file.sessions,
    audit: auditSettings(file.audit, inDirectory),
    grants: grantsInPlace(file.grants, audience, inDirectory),
    revocation: typeof revocation === 'object' ? inPlace(revocation, inDirectory) : undefined,
    store: typeof store === 'object' ? storeInPlace(store, inDirectoryIf) : undefined,
    admin: typeof admin === 'object' ? admin : undefined,
    limits: file.limits,
    log: file.log,
  }
}

function inPlaceOf(
  { secretFile, ...settings }: IntrospectionConfig,
  inDirectory: (path: string) => string,
): IntrospectionConfig {
  return { secretFile: inDirectory(secretFile), ...settings }
}

function storeInPlace(
  { url, urlFile, username, passwordFile, tls, ...settings }: Exclude<FileConfig['store'], string | false>,
  inDirectoryIf: (path: string | undefined) => string | undefined,
): StoreConfig {
  return {
    url,
    urlFile: inDirectoryIf(urlFile),
    username,
    passwordFile: inDirectoryIf(passwordFile),
    tls: tls && {
      caFile: inDirectoryIf(tls.caFile),
      certFile: inDirectoryIf(tls.certFile),
      keyFile: inDirectoryIf(tls.keyFile),
      serverName: tls.serverName,
    },
    ...settings,
  }
}

function inPlace(
  { file, secretFile, listFile, events, ...settings }: Exclude<FileConfig['revocation'], string | false>,
  inDirectory: (path: string) => string,
): Config['revocation'] {
  return {
    file: inDirectory(file),
    secretFile: secretFile && inDirectory(secretFile),
    listFile: listFile && inDirectory(listFile),
    ...settings,
    events: events.map((stream) => ({
      ...stream,
      jwks: { ...stream.jwks, url: stream.jwks.url, file: stream.jwks.file && inDirectory(stream.jwks.file) },
      secretFile: inDirectory(stream.secretFile),
      poll: stream.poll,
    })),
  }
}

function grantsInPlace(
  grants: FileConfig['grants'],
  audience: readonly string[] | undefined,
  inDirectory: (path: string) => string,
): Config['grants'] {
  if (typeof grants !== 'object') return undefined
  const { file, issuers, property, topic, ...limits } = grants
  return {
    file: file && inDirectory(file),
    issuers: issuers.map(({ audience: own, jwks, subjects, ...settings }) => ({
      ...settings,
      audience: own ?? audience ?? [],
      jwks: { ...jwks, url: jwks.url, file: jwks.file && inDirectory(jwks.file) },
      subjects: subjects ?? settings.issuer,
    })),
    property: property === 'off' ? undefined : property,
    topic: topic === 'off' ? undefined : topic,
    ...limits,
  }
}

function sourceInPlace(
  source: NonNullable<FileConfig['listeners'][number]['credentialSource']>,
  inDirectoryIf: (path: string | undefined) => string | undefined,
): CredentialSourceConfig {
  const { tokenFile, tokenEndpoint: endpoint, allowRemote } = source
  return {
    tokenFile: inDirectoryIf(tokenFile),
    tokenEndpoint: endpoint && {
      ...endpoint,
      assertionFile: inDirectoryIf(endpoint.assertionFile),
      clientSecretFile: inDirectoryIf(endpoint.clientSecretFile),
      clientKeyFile: inDirectoryIf(endpoint.clientKeyFile),
      audience: endpoint.audience,
      scope: endpoint.scope,
      resource: endpoint.resource,
      caFile: inDirectoryIf(endpoint.caFile),
    },
    allowRemote,
  }
}

function tlsInPlace(
  { certFile, keyFile, clientCaFile, ...settings }: NonNullable<FileConfig['listeners'][number]['tls']>,
  inDirectory: (path: string) => string,
): TlsConfig {
  return {
    certFile: inDirectory(certFile),
    keyFile: inDirectory(keyFile),
    clientCaFile: clientCaFile && inDirectory(clientCaFile),
    ...settings,
  }
}

function auditSettings(audit: FileConfig['audit'], inDirectory: (path: string) => string): Config['audit'] {
  const { file, digestKeyFile, checkpoints, copies } = audit
  const optional = (path: string | undefined) => (path === undefined ? undefined : inDirectory(path))
  const { keyFile, url, topic } = checkpoints
  return {
    ...audit,
    file: file === '-' ? file : inDirectory(file),
    digestKeyFile: optional(digestKeyFile),
    checkpoints: { ...checkpoints, keyFile: optional(keyFile), url, topic },
    copies: { stdout: copies.stdout, otlp: copies.otlp, syslog: copies.syslog, topic: copies.topic },
  }
}
