// Contradictions within the section `delegation`. Pure.
import type { Contradiction, PartialConfig } from './contradictions.ts'

const NAMES = ['property', 'agentProperty', 'humanProperty', 'tenantProperty'] as const

export function* delegationContradictions({ delegation }: PartialConfig): Iterable<Contradiction> {
  if (delegation === undefined) return
  for (const [i, name] of NAMES.entries()) {
    const twin = NAMES.slice(0, i).find((other) => delegation[other] === delegation[name])
    if (twin === undefined) continue
    yield {
      path: ['delegation', name],
      others: [['delegation', twin]],
      message: `\`${twin}\` has the same name: give each User Property a name of its own.`,
    }
  }
}
