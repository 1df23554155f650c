// What no single key can see, of `proof`.

import type { Contradiction, PartialConfig } from './contradictions.ts'

/** The method's name in RFC 9431. */
const ACE = 'ace'

export function* proofContradictions({ proof, token }: PartialConfig): Iterable<Contradiction> {
  if (proof === undefined) return
  const { ace, aceKeysFile, dpop, method } = proof
  if (aceKeysFile !== undefined && !ace) {
    yield {
      path: ['proof', 'aceKeysFile'],
      others: [['proof', 'ace']],
      message: 'Only the method `ace` reads it: write `ace: true`, or remove it.',
    }
  }
  if (ace && token?.methods.includes(ACE) === true) {
    yield {
      path: ['token', 'methods'],
      others: [['proof', 'ace']],
      message: 'By `proof.ace` the method `ace` is that of RFC 9431: give the bearer method another name.',
    }
  }
  if (dpop !== 'off' && (token?.methods.includes(method) === true || (ace && method === ACE))) {
    yield {
      path: ['proof', 'method'],
      others: [['token', 'methods']],
      message: 'Another kind of credential has this method already: give it a name of its own.',
    }
  }
}
