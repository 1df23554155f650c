// The configuration file of `postern sts` to an effective configuration, or to all its problems at once. Reads no file.
import { dirname, resolve } from 'node:path'
import type { Problem } from '../errors.ts'
import { type Contradiction, dotted } from './contradictions.ts'
import { type Path, readSource } from './document.ts'
import { checkUrl } from './field-checks.ts'
import { isLoopback, isLoopbackHost } from './fields.ts'
import { byPlace, explain, type Finding } from './findings.ts'
import type { ProviderConfig, StsClientConfig, StsConfig } from './sts-config.ts'
import { type StsFile, stsJsonSchema, stsSchema } from './sts-schema.ts'

/**
 * @param text the file, YAML or JSON
 * @param file its path, for messages and as the place that relative paths start from
 */
export function loadStsConfig(
  text: string,
  file: string,
): { config: StsConfig; warnings: Problem[] } | { problems: Problem[] } {
  const source = readSource(text)
  const broken = source.errors.map((e): Problem => ({ file, line: e.line, path: '', message: e.message }))
  if (source.value === undefined) return { problems: broken }
  const root = source.value ?? {}
  const place = ({ path, message }: Finding): Problem => ({
    file,
    line: source.lineOf(path),
    path: dotted(path),
    message,
  })
  const parsed = stsSchema.safeParse(root)
  const findings = parsed.success
    ? [...contradictions(parsed.data)]
    : parsed.error.issues.flatMap((issue) => explain(issue, root, stsJsonSchema))
  const problems = [...broken, ...findings.map(place)].sort(byPlace)
  if (problems.length > 0 || !parsed.success) return { problems }
  return { config: toConfig(parsed.data, dirname(file)), warnings: [...warnings(parsed.data)].map(place) }
}

function* contradictions(file: StsFile): Iterable<Contradiction> {
  const issuer = issuerProblem(file.issuer)
  if (issuer !== undefined) yield { path: ['issuer'], message: issuer }
  const prefixes = file.providers.map(({ subjectPrefix }) => subjectPrefix ?? '')
  for (const [i, provider] of file.providers.entries()) {
    const at = (...path: Path): Path => ['providers', i, ...path]
    yield* keyProblems(provider.jwks, at('jwks'))
    if (file.providers.findIndex((other) => other.issuer === provider.issuer) < i) {
      yield { path: at('issuer'), message: 'Another provider has this issuer already.' }
    }
    if (provider.tenant !== undefined && provider.tenantClaim !== undefined) {
      yield {
        path: at('tenantClaim'),
        message: 'Both `tenant` and `tenantClaim` are given: keep one of them.',
      }
    }
    if (provider.tenantClaim !== undefined && provider.tenants === undefined && file.providers.length > 1) {
      yield {
        path: at('tenants'),
        message:
          'Missing. With several providers each could name tenants of the others: list those it speaks for.',
      }
    }
    const twin = prefixes.findIndex((other, j) => j !== i && other.startsWith(prefixes[i]!))
    if (twin >= 0) {
      yield {
        path: at('subjectPrefix'),
        message: `People of \`providers[${twin}]\` could have the same name in tokens: give each provider a prefix of its own, such as \`acme:\`, of which none begins with another.`,
      }
    }
  }
  const issuers = file.providers.map((provider) => provider.issuer)
  for (const [i, client] of file.clients.entries()) {
    const at = (...path: Path): Path => ['clients', i, ...path]
    if ((client.secretFile === undefined) === (client.jwks === undefined)) {
      yield {
        path: at('jwks'),
        message: 'Write how this client authenticates: either `jwks` (better) or `secretFile`.',
      }
    }
    if (client.jwks !== undefined) yield* keyProblems(client.jwks, at('jwks'))
    if (file.clients.findIndex((other) => other.id === client.id) < i) {
      yield { path: at('id'), message: 'Another client has this id already.' }
    }
    const unknownProvider = client.providers?.find((name) => !issuers.includes(name))
    if (unknownProvider !== undefined) {
      yield { path: at('providers'), message: 'One of these is the `issuer` of no provider.' }
    }
    if (client.scopes.some((name) => !Object.hasOwn(file.scopes, name))) {
      yield {
        path: at('scopes'),
        message: 'One of these is not among `scopes`: write there what it permits.',
      }
    }
  }
  const files = [file.keysFile, file.replayFile, file.auditFile]
  if (new Set(files).size < files.length) {
    yield {
      path: ['replayFile'],
      message: 'Give `keysFile`, `replayFile` and `auditFile` a file of their own each.',
    }
  }
}

function issuerProblem(text: string): string | undefined {
  const url = URL.parse(text)
  const isGood =
    url !== null &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname))) &&
    url.origin === text
  return isGood
    ? undefined
    : 'Write `https://`, a host in lower case and a port if need be, and nothing behind it: `https://sts.example.com`.'
}

function* keyProblems(
  { url, file }: { url?: string | undefined; file?: string | undefined },
  path: Path,
): Iterable<Contradiction> {
  if ((url === undefined) === (file === undefined)) {
    yield { path, message: 'Write where the keys are: either `url: https://…` or `file: keys.json`.' }
  }
  const message = url === undefined ? undefined : checkUrl(url)
  if (message !== undefined) yield { path: [...path, 'url'], message }
}

function* warnings(file: StsFile): Iterable<Finding> {
  if (file.tls === undefined && !isLoopback(file.address)) {
    yield {
      path: ['address'],
      message:
        'Secrets and tokens go over this address in clear text: write `tls`, or end TLS in front of it.',
    }
  }
}

function toConfig(file: StsFile, directory: string): StsConfig {
  const inDirectory = (path: string): string => resolve(directory, path)
  const placed = (jwks: StsFile['providers'][number]['jwks']): ProviderConfig['jwks'] => ({
    ...jwks,
    url: jwks.url,
    file: jwks.file && inDirectory(jwks.file),
  })
  const { issuer, tls, keysFile, replayFile, auditFile, providers, clients, ...settings } = file
  return {
    ...settings,
    issuer,
    tls: tls && { ...tls, certFile: inDirectory(tls.certFile), keyFile: inDirectory(tls.keyFile) },
    keysFile: inDirectory(keysFile),
    replayFile: inDirectory(replayFile),
    auditFile: inDirectory(auditFile),
    providers: providers.map(
      ({ jwks, subjectPrefix = '', tenant, tenantClaim, tenants, ...provider }): ProviderConfig => ({
        ...provider,
        jwks: placed(jwks),
        subjectPrefix,
        tenant,
        tenantClaim,
        tenants,
      }),
    ),
    clients: clients.map(
      ({ agent, secretFile, jwks, providers: own, ...client }): StsClientConfig => ({
        ...client,
        agent: { iss: agent.iss ?? issuer, sub: agent.sub },
        secretFile: secretFile && inDirectory(secretFile),
        jwks: jwks && placed(jwks),
        providers: own ?? providers.map((provider) => provider.issuer),
      }),
    ),
  }
}
