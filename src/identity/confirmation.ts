// `cnf`: the key that a token is bound to, and what a connection has shown of it. RFC 7800, RFC 8705 §3.1, RFC 9449 §6.1.
// A member that is not understood is never passed over, or a bound token would pass for a bearer's (POP-01).

/** SHA-256 as base64url. */
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/

/** At least one is there; all must hold. */
export interface Confirmation {
  /** `jkt`: thumbprint of a public key (RFC 7638). */
  jkt?: string
  /** `x5t#S256`: digest of the client's certificate. */
  x5t?: string
}

const MEMBERS: ReadonlyMap<string, keyof Confirmation> = new Map<string, keyof Confirmation>([
  ['jkt', 'jkt'],
  ['x5t#S256', 'x5t'],
])

/** @returns undefined for a `cnf` that is not wholly understood */
export function readConfirmation(cnf: unknown): Confirmation | undefined {
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return undefined
  const confirmation: Confirmation = {}
  for (const [name, value] of Object.entries(cnf)) {
    const member = MEMBERS.get(name)
    if (member === undefined || typeof value !== 'string' || !THUMBPRINT.test(value)) return undefined
    confirmation[member] = value
  }
  return Object.keys(confirmation).length === 0 ? undefined : confirmation
}

/** What a connection can show: its TLS side. Satisfied by a Peer. */
export interface TlsEvidence {
  /** SHA-256 of the client's certificate, base64url; undefined: it showed none. */
  readonly certificate: string | undefined
  /** The session was resumed: what was proved before it is not proved by it. */
  readonly resumed: boolean
  /** Keying material of this TLS 1.3 connection under a label, with an empty context; undefined below 1.3. */
  exporter(label: string): Buffer | undefined
}
