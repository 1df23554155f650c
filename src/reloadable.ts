// Which files are read again while Postern runs, and in which order.

import type { Config } from './config/config.ts'
import type { Reloadable } from './reloads.ts'

/** Reads one part again. @throws Error when it is no good; the former one stays in force */
export interface Loaders {
  policy(): Promise<void>
  /** @param issuer its place in the configuration; so for the next two */
  keys(issuer: number): Promise<void>
  grantKeys(issuer: number): Promise<void>
  aceKeys(): Promise<void>
  listener(listener: number): Promise<void>
  /** Those that sign checkpoints and make keyed digests. */
  auditKeys(): Promise<void>
  revocation(): Promise<void>
  upstream(): Promise<void>
}

export function reloadable(config: Config, load: Loaders): Reloadable[] {
  const { policy, issuers, grants, audit, proof, revocation, listeners, upstream } = config
  const parts: Reloadable[] = [{ what: 'policy', files: [policy.file], load: () => load.policy() }]
  for (const [i, { jwks }] of issuers.entries()) {
    // How a fetch from a URL went is told as for every fetch.
    parts.push({ what: 'keys', files: present([jwks.file]), load: () => load.keys(i) })
  }
  for (const [i, { jwks }] of (grants?.issuers ?? []).entries()) {
    if (jwks.file !== undefined)
      parts.push({ what: 'keys', files: [jwks.file], load: () => load.grantKeys(i) })
  }
  if (proof.aceKeysFile !== undefined)
    parts.push({ what: 'keys', files: [proof.aceKeysFile], load: () => load.aceKeys() })
  const auditKeys = present([audit.checkpoints.keyFile, audit.digestKeyFile])
  if (auditKeys.length > 0) parts.push({ what: 'keys', files: auditKeys, load: () => load.auditKeys() })
  if (revocation !== undefined) {
    const secrets = revocation.events.map((stream) => stream.secretFile)
    const files = present([revocation.listFile, revocation.secretFile, ...secrets])
    parts.push({ what: 'revocation', files, load: () => load.revocation() })
  }
  for (const [i, { tls }] of listeners.entries()) {
    if (tls === undefined) continue
    const files = present([tls.certFile, tls.keyFile, tls.clientCaFile])
    parts.push({ what: 'tls', files, load: () => load.listener(i) })
  }
  if (upstream.tls !== undefined) {
    const { caFile, certFile, keyFile } = upstream.tls
    parts.push({ what: 'tls', files: present([caFile, certFile, keyFile]), load: () => load.upstream() })
  }
  return parts
}

function present(files: readonly (string | undefined)[]): string[] {
  return files.filter((file) => file !== undefined)
}
