// The files that a configuration names beside policy and the issuers' keys: secrets, lists, keys and certificates. For
// `check`, which reads them all.

import { readFile } from 'node:fs/promises'
import { readDigestKey, readSigner } from '../src/audit/checkpoint-file.ts'
import { systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { PosternError, type Problem } from '../src/errors.ts'
import { AceKeys } from '../src/identity/ace-keys.ts'
import { FileKeys } from '../src/identity/file-keys.ts'
import { type CertificateFinding, checkCertificates, checkPrivateKey } from '../src/net/certificate-check.ts'
import { readList, readSecret } from '../src/revocation/files.ts'

export interface NamedFile {
  /** Key of the configuration, such as `listeners[0].tls.certFile`. */
  key: string
  path: string
  /** Reads it as it will be used. @throws PosternError, or the error of the system; @returns what is wrong besides */
  read(): Promise<CertificateFinding | undefined>
}

interface TlsFiles {
  certFile?: string | undefined
  keyFile?: string | undefined
  caFile?: string | undefined
  clientCaFile?: string | undefined
}

export function namedFiles(config: Config): NamedFile[] {
  const { listeners, upstream, audit, proof, revocation, grants, store } = config
  const files: NamedFile[] = []
  const add = (key: string, path: string | undefined, read: (path: string) => Promise<unknown> | unknown) => {
    if (path === undefined) return
    const readIt = async (): Promise<undefined> => {
      await read(path)
    }
    files.push({ key, path, read: readIt })
  }
  const addJwks = (
    key: string,
    { jwks, algorithms }: Pick<Config['issuers'][number], 'jwks' | 'algorithms'>,
  ): void => {
    const { maxBytes, use } = jwks
    add(key, jwks.file, (path) => new FileKeys({ path, algorithms, maxBytes, use }, systemClock).load())
  }
  for (const [i, { tls }] of listeners.entries()) files.push(...tlsFiles(`listeners[${i}].tls`, tls))
  files.push(...tlsFiles('upstream.tls', upstream.tls))
  add('audit.digestKeyFile', audit.digestKeyFile, readDigestKey)
  add('audit.checkpoints.keyFile', audit.checkpoints.keyFile, readSigner)
  add('proof.aceKeysFile', proof.aceKeysFile, (path) => new AceKeys(path).load())
  for (const [i, issuer] of (grants?.issuers ?? []).entries())
    addJwks(`grants.issuers[${i}].jwks.file`, issuer)
  const issuers = new Set([...config.issuers, ...(grants?.issuers ?? [])].map(({ issuer }) => issuer))
  add('revocation.secretFile', revocation?.secretFile, readSecret)
  add('revocation.listFile', revocation?.listFile, (path) => readList(path, issuers))
  for (const [i, stream] of (revocation?.events ?? []).entries()) {
    add(`revocation.events[${i}].secretFile`, stream.secretFile, readSecret)
    addJwks(`revocation.events[${i}].jwks.file`, stream)
  }
  add('store.urlFile', store?.urlFile, notEmpty)
  add('store.passwordFile', store?.passwordFile, notEmpty)
  files.push(...tlsFiles('store.tls', store?.tls))
  return files
}

/** Reads them all. `problems`: Postern would not start; `warnings`: it would, and something is amiss. */
export async function lookInto(
  files: readonly NamedFile[],
): Promise<{ problems: Problem[]; warnings: Problem[] }> {
  const problems: Problem[] = []
  const warnings: Problem[] = []
  for (const { key, path, read } of files) {
    const finding = await read().catch((error: unknown) => ({ isUsable: false, message: reasonOf(error) }))
    if (finding === undefined) continue
    const problem = { file: path, path: key, message: finding.message }
    if (finding.isUsable) warnings.push(problem)
    else problems.push(problem)
  }
  return { problems, warnings }
}

function reasonOf(error: unknown): string {
  const { code } = ((error as Error).cause ?? error) as { code?: unknown }
  if (code === 'ENOENT') return 'There is no such file.'
  if (code === 'EACCES') return 'It may not be read: check its permissions.'
  if (error instanceof PosternError) return error.message
  if (typeof code === 'string') return `It cannot be read (${code}).`
  throw error
}

function tlsFiles(under: string, tls: TlsFiles | undefined): NamedFile[] {
  const text = (path: string): Promise<string> => readFile(path, 'utf8')
  const certificates = (name: keyof TlsFiles): NamedFile[] => {
    const path = tls?.[name]
    if (path === undefined) return []
    const read = async () => checkCertificates(await text(path), systemClock.now())
    return [{ key: `${under}.${name}`, path, read }]
  }
  const { certFile, keyFile } = tls ?? {}
  const key: NamedFile[] =
    keyFile === undefined
      ? []
      : [
          {
            key: `${under}.keyFile`,
            path: keyFile,
            read: async () => {
              const cert = certFile === undefined ? undefined : await text(certFile).catch(() => undefined)
              return checkPrivateKey(await text(keyFile), cert)
            },
          },
        ]
  return [...certificates('certFile'), ...key, ...certificates('clientCaFile'), ...certificates('caFile')]
}

async function notEmpty(path: string): Promise<void> {
  if ((await readFile(path, 'utf8')).trim() === '')
    throw new PosternError('ERR_STORE', 'internal', 'The file is empty.')
}
