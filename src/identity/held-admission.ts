// Admits agents that bring no credential, by a token that Postern holds for them. What an agent shows all the same is
// refused, not passed over: it would be taken for what counts. DEL-14.

import { randomBytes } from 'node:crypto'
import type { Config } from '../config/config.ts'
import type { ConnectHead } from '../wire/heads.ts'
import type { TokenPlace } from './auth-failure.ts'
import { type Authentication, type RenewalAnswer, refusal, refusedRenewal, succeed } from './authenticator.ts'
import { bindClientId } from './client-id.ts'
import { bindPrincipal, type Principal } from './principal.ts'
import type { TokenVerifier } from './token-verifier.ts'

export class HeldAdmission {
  readonly #verifier: TokenVerifier
  readonly #config: Pick<Config, 'token' | 'clientId'>

  constructor(verifier: TokenVerifier, config: Pick<Config, 'token' | 'clientId'>) {
    this.#verifier = verifier
    this.#config = config
  }

  /**
   * Never rejects. Failed tries are not counted: there is nothing to guess.
   *
   * @param source what the offsets of `connect` point into; both are read before this returns, not afterwards
   * @param token undefined: none is at hand
   */
  async admit(source: Buffer, connect: ConnectHead, token: string | undefined): Promise<Authentication> {
    const shown = this.#placeOfCredential(connect)
    if (shown !== undefined) return refusal({ reason: 'unexpected_credential', place: shown })
    if (token === undefined) return refusal({ reason: 'credential_unavailable', place: 'none' })
    const requestedId = source.toString('utf8', connect.clientIdStart, connect.clientIdEnd)
    const verified = await this.#verifier.verify(token)
    if (!verified.ok) return refusal({ ...verified, place: 'none' })
    const { principal: held } = verified
    const bound = bindClientId(requestedId, held.agent.id, this.#config.clientId, () =>
      randomBytes(12).toString('base64url'),
    )
    if (!bound.ok) return refusal({ reason: bound.reason, place: 'none', token: held })
    const principal = bindPrincipal(held, bound.clientId)
    if (principal === undefined) return refusal({ reason: 'client_id_mismatch', place: 'none', token: held })
    const { clientId, assigned } = bound
    return { ok: true, principal, clientId, assigned, authenticationMethod: undefined }
  }

  /** Verifies a fresh token for a connection; it must be of the same bearer (EXP-03). Never rejects. */
  async renew(token: string | undefined, current: Principal): Promise<RenewalAnswer> {
    if (token === undefined) return refusedRenewal('credential_unavailable')
    const verified = await this.#verifier.verify(token)
    return verified.ok
      ? succeed(verified.principal, current)
      : refusedRenewal(verified.reason, verified.detail)
  }

  /** A User Name alone is a name, unless tokens may stand there. */
  #placeOfCredential(connect: ConnectHead): TokenPlace | undefined {
    if (connect.authenticationMethodStart >= 0) return 'authentication_data'
    if (connect.passwordStart >= 0) return 'password'
    return connect.userNameStart >= 0 && this.#config.token.fromUsername ? 'user_name' : undefined
  }
}
