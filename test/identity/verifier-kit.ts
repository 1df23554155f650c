// A verifier with one issuer whose keys are at hand, and claims that it accepts.
import type { IssuerConfig } from '../../src/config/config.ts'
import { TokenVerifier, type VerifyResult } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { issuerConfig, TEST_AUDIENCE, TEST_ISSUER } from '../support/tokens.ts'
import { FixedKeys, RawSigner } from './raw-signer.ts'

export interface VerifierKit {
  clock: FakeClock
  signer: RawSigner
  keys: FixedKeys
  verifier: TokenVerifier
  /** Good claims with changes; `undefined` leaves one out. */
  claims(changes?: object): object
  /** Signs good claims with changes and verifies. */
  verify(changes?: object, header?: object): Promise<VerifyResult>
}

export async function verifierKit(changes: Partial<IssuerConfig> = {}): Promise<VerifierKit> {
  const clock = new FakeClock()
  const signer = new RawSigner()
  const keys = await FixedKeys.of([signer.jwk])
  const verifier = new TokenVerifier([{ config: issuerConfig(changes), keys }], clock, { maxBytes: 8192 })
  const claims = (overrides: object = {}): object => ({ ...goodClaims(clock.now()), ...overrides })
  const verify = (overrides: object = {}, header: object = {}): Promise<VerifyResult> =>
    verifier.verify(signer.sign(claims(overrides), header))
  return { clock, signer, keys, verifier, claims, verify }
}

/** `scout` acting for `alice`, issued now, 10 minutes. */
export function goodClaims(nowMs: number): Record<string, unknown> {
  const now = Math.floor(nowMs / 1000)
  return {
    iss: TEST_ISSUER,
    aud: TEST_AUDIENCE,
    sub: 'alice',
    act: { iss: TEST_ISSUER, sub: 'scout' },
    client_id: 'agent-platform',
    iat: now,
    exp: now + 600,
    jti: 't-1',
  }
}

/** `ok`, or the reason and detail of a refusal. */
export function outcome(result: VerifyResult): string {
  if (result.ok) return 'ok'
  return result.detail === undefined ? result.reason : `${result.reason} ${result.detail}`
}
