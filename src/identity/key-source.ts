// Where an issuer's keys come from, as the verifier sees it. Two implementations: remote-keys.ts and file-keys.ts.

import type { VerificationKey } from './key-set.ts'

export type KeyAnswer =
  | { ok: true; key: VerificationKey }
  | { ok: false; reason: 'unknown_key' | 'ambiguous_key' | 'keys_unavailable' }

/** The result of one attempt to load keys. A closed set, for metric labels. */
export const KEY_LOAD_RESULTS = [
  'ok',
  'unreachable',
  'timeout',
  'redirect',
  'bad_status',
  'bad_content_type',
  'too_large',
  'bad_key_set',
] as const
export type KeyLoadResult = (typeof KEY_LOAD_RESULTS)[number]

export interface KeySource {
  /**
   * Loads the keys now: at start, and whenever told that they may have changed. Keys that cannot be loaded leave the
   * set in use as it is. A file that is bad rejects with a PosternError; a URL never rejects, its results go to
   * `onLoad`, and it is tried again by itself.
   */
  load(): Promise<void>
  /** The key for a token header; may wait for one fetch. Never rejects. */
  keyFor(alg: string, kid: string | undefined): Promise<KeyAnswer>
  /** true while `keyFor` can find keys: a set is there and not too old. */
  ready(): boolean
  /** Milliseconds since the set in use was loaded; undefined without one. */
  ageMs(): number | undefined
  close(): Promise<void>
}
