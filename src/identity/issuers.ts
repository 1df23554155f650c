// Makes the configured issuers ready to verify tokens: a key source for each, from a file or a URL.

import type { Clock } from '../clock.ts'
import type { IssuerConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import { FileKeys } from './file-keys.ts'
import type { KeyLoadResult, KeySource } from './key-source.ts'
import { RemoteKeys } from './remote-keys.ts'
import type { IssuerRuntime } from './token-verifier.ts'

/** Called after every attempt to fetch an issuer's keys from its URL. */
export type OnKeysLoaded = (issuer: string, result: KeyLoadResult) => void

/** Called whenever an issuer's keys were replaced, in the same step, with the names of those that are in force now. */
export type OnKeysReplaced = (issuer: string, kids: ReadonlySet<string>) => void

/**
 * Opens the key source of every issuer. A key server that cannot be reached yet is no error: `ready()` is false until
 * it can. A JWKS file that cannot be used is one.
 *
 * @param read reads JWKS files in place of the file system
 * @throws PosternError `ERR_KEY_FILE`, `ERR_JWKS_URL`, `ERR_JWKS_SOURCE`; what was opened before is closed again
 */
export async function openIssuers(
  configs: readonly IssuerConfig[],
  clock: Clock,
  onLoaded: OnKeysLoaded,
  read?: (path: string) => Promise<Buffer>,
  onReplaced?: OnKeysReplaced,
): Promise<IssuerRuntime[]> {
  const opened: IssuerRuntime[] = []
  try {
    for (const config of configs)
      opened.push({ config, keys: openKeys(config, clock, onLoaded, read, onReplaced) })
    await Promise.all(opened.map(({ keys }) => keys.load()))
    return opened
  } catch (error) {
    await Promise.all(opened.map(({ keys }) => keys.close()))
    throw error
  }
}

/** Opens one key source, which is still to be loaded. @throws PosternError as `openIssuers` */
export function openKeys(
  config: Pick<IssuerConfig, 'issuer' | 'jwks' | 'algorithms'>,
  clock: Clock,
  onLoaded: OnKeysLoaded,
  read?: (path: string) => Promise<Buffer>,
  onReplaced?: OnKeysReplaced,
): KeySource {
  const { url, file, ...limits } = config.jwks
  const { algorithms, issuer } = config
  const replaced = (kids: ReadonlySet<string>): void => onReplaced?.(issuer, kids)
  if (url !== undefined && file === undefined) {
    return new RemoteKeys(
      { ...limits, url, algorithms },
      clock,
      (result) => onLoaded(issuer, result),
      replaced,
    )
  }
  if (file !== undefined && url === undefined) {
    const { maxBytes, use } = limits
    return new FileKeys({ path: file, algorithms, maxBytes, use }, clock, read, replaced)
  }
  throw new PosternError(
    'ERR_JWKS_SOURCE',
    'internal',
    'an issuer needs either jwks.url or jwks.file, and not both',
  )
}
