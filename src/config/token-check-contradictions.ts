// What no single key can see, of `statusList` and `introspection` of an issuer.

import type { Contradiction } from './contradictions.ts'
import type { Path } from './document.ts'
import { checkUrl } from './field-checks.ts'
import type { FileConfig } from './schema.ts'

export function* tokenCheckContradictions(
  { statusList, introspection }: FileConfig['issuers'][number],
  at: (...path: Path) => Path,
): Iterable<Contradiction> {
  if (typeof introspection === 'object') {
    const message = checkUrl(introspection.url)
    if (message !== undefined) yield { path: at('introspection', 'url'), message }
  }
  if (typeof statusList !== 'object') return
  for (const uri of statusList.uris) {
    const message = checkUrl(uri) ?? (uri.endsWith('/') ? undefined : END)
    if (message !== undefined) yield { path: at('statusList', 'uris'), message }
  }
}

const END =
  'Write each up to a `/`, such as `https://id.example/status/`: else the beginning of another host’s name could pass for it.'
