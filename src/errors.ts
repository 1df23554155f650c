// Errors of the surroundings: a broker that refuses, a key server that times out, a full disk.
// What a peer does is never an exception; see session/outcome.ts for those.

/** Who caused it: the agent side, the broker side, or this process and its files. */
export type Side = 'client' | 'server' | 'internal'

/**
 * Base of every typed error. `code` is stable and documented in docs/errors.md; `message` is a
 * sentence for an operator and never holds a token, a password or payload bytes.
 */
export class PosternError extends Error {
  readonly code: string
  readonly side: Side

  constructor(code: string, side: Side, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'PosternError'
    this.code = code
    this.side = side
  }
}

/** One thing wrong in a file that a person wrote. All problems of a file are reported at once. */
export interface Problem {
  /** Path of the file, or `environment`. */
  file: string
  /** 1-based line, when the format gives one. */
  line?: number
  /** Dotted path of the key, such as `issuers[0].jwks.url`; empty for the file as a whole. */
  path: string
  /** What is wrong and what to write instead, as a sentence. */
  message: string
}
