// What no single key can see, of issuers whose tokens are those of workloads.

import type { Contradiction, PartialConfig } from './contradictions.ts'
import type { Path } from './document.ts'

export function* workloadContradictions({ issuers }: PartialConfig): Iterable<Contradiction> {
  for (const [i, issuer] of issuers.entries()) {
    if (issuer === undefined) continue
    const at = (...path: Path): Path => ['issuers', i, ...path]
    const { mapping, claims, jwks, spiffe } = issuer
    for (const mode of ['kubernetes', 'spiffe'] as const) {
      if ((mapping === mode) === (issuer[mode] !== undefined)) continue
      yield {
        path: at(mode),
        others: [at('mapping')],
        message: `\`mapping: ${mode}\` and this section go together: write both, or neither.`,
      }
    }
    if (jwks.use === 'jwt-svid' && mapping !== 'spiffe') {
      yield {
        path: at('jwks', 'use'),
        others: [at('mapping')],
        message: 'The keys of a SPIFFE bundle sign JWT-SVIDs: write `mapping: spiffe`, or remove it.',
      }
    }
    if (mapping !== 'kubernetes' && mapping !== 'spiffe') continue
    for (const name of ['agentId', 'userId', 'tenant'] as const) {
      if (claims[name] === undefined) continue
      yield {
        path: at('claims', name),
        others: [at('mapping')],
        message: `Under \`mapping: ${mapping}\` the section \`${mapping}\` and \`owners\` name everybody: remove it.`,
      }
    }
    const twin = issuers.findIndex((other) => other?.spiffe?.trustDomain === spiffe?.trustDomain)
    if (spiffe !== undefined && twin < i) {
      yield {
        path: at('spiffe', 'trustDomain'),
        others: [['issuers', twin, 'spiffe', 'trustDomain']],
        message: `\`issuers[${twin}]\` has this trust domain already: a token without \`iss\` would be of both.`,
      }
    }
  }
}
