// What it costs to believe a token, seen for the first time and seen before, beside what `jose` alone takes for it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { systemClock } from '../../../src/clock.ts'
import { FileKeys } from '../../../src/identity/file-keys.ts'
import { TokenVerifier } from '../../../src/identity/token-verifier.ts'
import { issuerConfig } from '../../../test/support/tokens.ts'
import { makeClients, makeIssuer } from '../../paths.ts'
import { timeEach } from '../timing.ts'

for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
  const issuer = await makeIssuer(alg)
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const path = join(directory, 'jwks.json')
  const jwks = issuer.publicJwks()
  writeFileSync(path, JSON.stringify(jwks))
  const keys = new FileKeys({ path, algorithms: [alg], maxBytes: 65_536 }, systemClock)
  await keys.load()
  const { issuer: iss } = issuer
  const config = issuerConfig({
    issuer: iss,
    audience: ['postern'],
    algorithms: [alg],
    maxLifetime: 7_200_000,
  })
  const verifier = new TokenVerifier([{ config, keys }], systemClock, { maxBytes: 8192 })
  const local = createLocalJWKSet(jwks as Parameters<typeof createLocalJWKSet>[0])
  const tokens = async (): Promise<string[]> =>
    (await makeClients(issuer, alg === 'RS256' ? 400 : 4000, true)).map(({ password }) => password)

  const accept = async (token: string): Promise<void> => {
    const result = await verifier.verify(token)
    if (!result.ok) throw new Error(result.reason)
  }
  const seen = await tokens()
  await timeEach(`jose alone, ${alg}`, seen, (token) =>
    jwtVerify(token, local, { issuer: iss, audience: 'postern', typ: 'at+jwt', algorithms: [alg] }),
  )
  await timeEach(`token seen for the first time, ${alg}`, seen, accept)
  await timeEach(`token seen before, ${alg}`, seen.slice(-100), accept)
  await keys.close()
  rmSync(directory, { recursive: true })
}
