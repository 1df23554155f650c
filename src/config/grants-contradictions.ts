// What no single key can see, of `grants`.

import type { Contradiction, PartialConfig } from './contradictions.ts'
import type { Path } from './document.ts'
import { checkUrl, isSameFile } from './field-checks.ts'

/** @param file path of the configuration file */
export function* grantsContradictions(config: PartialConfig, file: string): Iterable<Contradiction> {
  const { grants, audience, issuers, token } = config
  if (typeof grants !== 'object') return
  for (const [i, issuer] of grants.issuers.entries()) {
    const at = (...path: Path): Path => ['grants', 'issuers', i, ...path]
    const { url, file: keys } = issuer.jwks
    const shared = issuers.some((other) => other?.issuer === issuer.issuer)
    if (issuer.audience === undefined && audience === undefined) {
      yield {
        path: at('audience'),
        others: [['audience']],
        message:
          'Missing. Write the audience that this issuer puts into `aud` for this proxy, here or as `audience` at the top level.',
      }
    }
    if (url !== undefined && keys !== undefined) {
      yield {
        path: at('jwks', 'file'),
        others: [at('jwks', 'url')],
        message: 'Both `url` and `file` are given: keep one of them.',
      }
    }
    if (url === undefined && keys === undefined && !shared) {
      yield {
        path: at('jwks'),
        others: [['issuers']],
        message:
          'Missing. Write where the keys are, `url: https://…` or `file: keys.json`; only an issuer that stands under `issuers` too needs none.',
      }
    }
    const message = url === undefined ? undefined : checkUrl(url)
    if (message !== undefined) yield { path: at('jwks', 'url'), message }
    if (grants.issuers.findIndex((other) => other.issuer === issuer.issuer) < i) {
      yield { path: at('issuer'), message: 'Another entry has this issuer already.' }
    }
  }
  if (grants.topic !== 'off' && token !== undefined && grants.topic === token.topic) {
    yield {
      path: ['grants', 'topic'],
      others: [['token', 'topic']],
      message: 'This is `token.topic`: give grants a topic of their own.',
    }
  }
  const property = (['property', 'agentProperty', 'humanProperty', 'tenantProperty'] as const).find(
    (name) => grants.property !== 'off' && config.delegation?.[name] === grants.property,
  )
  if (property !== undefined) {
    yield {
      path: ['grants', 'property'],
      others: [['delegation', property]],
      message: `This is \`delegation.${property}\`: give each User Property a name of its own.`,
    }
  }
  if (grants.property === 'off' && grants.topic === 'off') {
    yield {
      path: ['grants', 'topic'],
      others: [['grants', 'property']],
      message: 'With `property: off` as well no grant can come in: write one of the two.',
    }
  }
  const taken: [Path, string | undefined][] = [
    [['audit', 'file'], config.audit?.file],
    [['revocation', 'file'], typeof config.revocation === 'object' ? config.revocation.file : undefined],
  ]
  const shared = typeof config.store === 'object'
  if (shared === (grants.file !== undefined)) {
    yield {
      path: ['grants', 'file'],
      others: [['store']],
      message: shared
        ? 'The `store` counts the uses of grants: remove this.'
        : 'Missing. Write where the uses of grants are kept, such as `grants.jsonl`; replicas share a `store`.',
    }
  }
  for (const [path, other] of taken) {
    if (grants.file === undefined || other === undefined || !isSameFile(grants.file, other, file)) continue
    yield {
      path: ['grants', 'file'],
      others: [path],
      message: `This is \`${path.join('.')}\`: give the uses of grants a file of their own.`,
    }
  }
}
