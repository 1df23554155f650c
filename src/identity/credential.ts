// Finds the token in a CONNECT: Password, Authentication Data of a bearer method, or (by option) User Name.
// It does not judge the token. The strings it returns are secrets: never log them. TOK-13; MQTT 5.0 §3.1.2.8-9, §4.12.

import type { ConnectHead } from '../wire/heads.ts'
import { ACE_METHOD, readAceData } from './ace.ts'
import type { TokenPlace } from './auth-failure.ts'

export interface Credential {
  ok: true
  /** Characters of base64url and dots only; not checked further. */
  token: string
  place: TokenPlace
  /** Authentication Method, to be echoed in CONNACK [MQTT-4.12.0-5]; undefined for a Password. */
  method: string | undefined
  /** Method `ace` only: the proof beside the token; empty: a challenge is asked for. */
  aceProof?: Buffer
}

export interface CredentialFault {
  ok: false
  reason: 'no_token' | 'no_password' | 'two_tokens' | 'unknown_method' | 'malformed_token' | 'ace_malformed'
  place: TokenPlace
}

export interface CredentialOptions {
  /** Accept the token in the User Name too; otherwise the User Name is never looked at (TOK-15). */
  fromUsername: boolean
  /** Names of bearer methods, compared as exact bytes. */
  methods: readonly string[]
  /** Whether the method `ace` of RFC 9431 is spoken. */
  ace?: boolean
}

/**
 * @param source the buffer that the offsets of `connect` point into; it is not kept
 */
export function findCredential(
  source: Buffer,
  connect: ConnectHead,
  options: CredentialOptions,
): Credential | CredentialFault {
  const hasPassword = connect.passwordStart >= 0
  const hasUserName = connect.userNameStart >= 0

  if (connect.authenticationMethodStart >= 0) {
    const name = source.toString('utf8', connect.authenticationMethodStart, connect.authenticationMethodEnd)
    if (options.ace === true && name === ACE_METHOD) return aceToken(source, connect)
    const method = options.methods.find((known) => known === name)
    if (method === undefined) return fault('unknown_method', 'none')
    if (hasPassword || (hasUserName && options.fromUsername)) return fault('two_tokens', 'none')
    const { authenticationDataStart: start, authenticationDataEnd: end } = connect
    return start < 0 || start === end
      ? fault('no_token', 'none')
      : tokenIn(source, start, end, 'authentication_data', method)
  }

  if (options.fromUsername && hasUserName) {
    const { userNameStart: start, userNameEnd: end } = connect
    if (!hasPassword) return tokenIn(source, start, end, 'user_name', undefined)
    // A plain name beside a token in the Password is ordinary; a token in both places is not.
    if (looksLikeToken(source, start, end)) return fault('two_tokens', 'none')
  }

  if (!hasPassword) return hasUserName ? fault('no_password', 'none') : fault('no_token', 'none')
  if (connect.passwordStart === connect.passwordEnd) return fault('no_password', 'none')
  return tokenIn(source, connect.passwordStart, connect.passwordEnd, 'password', undefined)
}

/** RFC 9431 §2.2.3: the flags of User Name and Password are 0. §2.2.4: two bytes of length, token, perhaps a proof. */
function aceToken(source: Buffer, connect: ConnectHead): Credential | CredentialFault {
  const { authenticationDataStart: start, authenticationDataEnd: end } = connect
  if (connect.passwordStart >= 0 || connect.userNameStart >= 0) return fault('ace_malformed', 'none')
  if (start < 0) return fault('no_token', 'none')
  const data = readAceData(source.subarray(start, end))
  if (data === undefined) return fault('ace_malformed', 'authentication_data')
  const token = tokenIn(data.token, 0, data.token.length, 'authentication_data', ACE_METHOD)
  return token.ok ? { ...token, aceProof: Buffer.from(data.proof) } : token
}

/** The token in these bytes, or undefined when they hold anything but the characters of one. */
export function tokenText(source: Buffer): string | undefined {
  return textIn(source, 0, source.length)
}

function tokenIn(
  source: Buffer,
  start: number,
  end: number,
  place: TokenPlace,
  method: string | undefined,
): Credential | CredentialFault {
  const token = textIn(source, start, end)
  return token === undefined ? fault('malformed_token', place) : { ok: true, token, place, method }
}

function fault(reason: CredentialFault['reason'], place: TokenPlace): CredentialFault {
  return { ok: false, reason, place }
}

function looksLikeToken(source: Buffer, start: number, end: number): boolean {
  return textIn(source, start, end)?.split('.').length === 3
}

/** Only `A-Z a-z 0-9 - _ .`, so that the string is the bytes. RFC 7515 §7.1. */
const TOKEN_TEXT = /^[A-Za-z0-9._-]+$/

function textIn(source: Buffer, start: number, end: number): string | undefined {
  const text = source.toString('latin1', start, end)
  return TOKEN_TEXT.test(text) ? text : undefined
}
