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
import { about, compareEach, few } from '../timing.ts'

about('identity: a token')
for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
  const issuer = await makeIssuer(alg)
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const path = join(directory, 'jwks.json')
  const jwks = issuer.publicJwks()
  writeFileSync(path, JSON.stringify(jwks))
  const keys = new FileKeys({ path, algorithms: [alg], maxBytes: 65_536 }, systemClock)
  await keys.load()
  const { issuer: iss, audience } = issuer
  const config = issuerConfig({
    issuer: iss,
    audience: [audience],
    algorithms: [alg],
    maxLifetime: 7_200_000,
  })
  const verifier = new TokenVerifier([{ config, keys }], systemClock, { maxBytes: 8192 })
  const local = createLocalJWKSet(jwks as Parameters<typeof createLocalJWKSet>[0])
  // Signing an RSA token takes long.
  const count = few(alg === 'RS256' ? 400 : 4000)
  const fresh = (await makeClients(issuer, count, true)).map(({ password }) => password)
  const known = fresh.slice(-100)

  const accept = async (token: string): Promise<void> => {
    const result = await verifier.verify(token)
    if (!result.ok) throw new Error(result.reason)
  }
  const expected = { issuer: iss, audience, typ: 'at+jwt', algorithms: [alg] }
  await compareEach([
    { name: `${alg}, jose alone`, items: fresh, call: (token) => jwtVerify(token, local, expected) },
    { name: `${alg}, seen for the first time`, items: fresh, call: accept },
  ])
  for (const token of known) await accept(token)
  const again = Array.from({ length: few(20) }, () => known).flat()
  await compareEach([{ name: `${alg}, seen before`, items: again, call: accept }])
  await keys.close()
  rmSync(directory, { recursive: true })
}
