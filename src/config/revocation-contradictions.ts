// What no single key can see, of `revocation` and its event streams.

import type { Contradiction, PartialConfig } from './contradictions.ts'
import type { Path } from './document.ts'
import { checkUrl, isSameFile } from './field-checks.ts'

/** @param file path of the configuration file */
export function* revocationContradictions(config: PartialConfig, file: string): Iterable<Contradiction> {
  const { revocation } = config
  if (typeof revocation !== 'object') return
  if (revocation.secretFile !== undefined && typeof config.admin !== 'object') {
    yield {
      path: ['revocation', 'secretFile'],
      others: [['admin']],
      message: 'The call it is for needs the admin listener: write `admin`, or remove it.',
    }
  }
  for (const [i, { name, jwks, poll }] of revocation.events.entries()) {
    const at = (...path: Path): Path => ['revocation', 'events', i, ...path]
    if ((jwks.url === undefined) === (jwks.file === undefined)) {
      yield {
        path: at('jwks'),
        message: 'Write where the keys are: either `url: https://…` or `file: keys.json`.',
      }
    }
    for (const [path, url] of [
      [at('jwks', 'url'), jwks.url],
      [at('poll', 'url'), poll?.url],
    ] as const) {
      const message = url === undefined ? undefined : checkUrl(url)
      if (message !== undefined) yield { path, message }
    }
    if (poll === undefined && typeof config.admin !== 'object') {
      yield {
        path: at('poll'),
        others: [['admin']],
        message: 'Without `poll` the transmitter pushes to the admin listener: write `admin`, or `poll`.',
      }
    }
    if (revocation.events.findIndex((other) => other.name === name) < i) {
      yield { path: at('name'), message: 'Another stream has this name already.' }
    }
  }
  if (config.audit !== undefined && isSameFile(revocation.file, config.audit.file, file)) {
    yield {
      path: ['revocation', 'file'],
      others: [['audit', 'file']],
      message: 'This is `audit.file`: give the revocations a file of their own.',
    }
  }
}
