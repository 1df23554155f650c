// Contradictions of a listener whose agents bring no credential. Pure.
import type { Contradiction, PartialConfig } from './contradictions.ts'
import type { Path } from './document.ts'
import { isLoopback, isLoopbackHost } from './fields.ts'

export function* credentialContradictions({ listeners, workers }: PartialConfig): Iterable<Contradiction> {
  for (const [i, listener] of listeners.entries()) {
    if (listener === undefined) continue
    const at = (...path: Path): Path => ['listeners', i, ...path]
    const { credentials, credentialSource: source, address, proxyProtocolFrom } = listener
    if ((credentials === 'broker') !== (source !== undefined)) {
      yield {
        path: at('credentialSource'),
        others: [at('credentials')],
        message: '`credentials: broker` and `credentialSource` go together: write both, or neither.',
      }
    }
    if (source === undefined) continue
    if (workers !== undefined && workers > 1) {
      yield {
        path: at('credentialSource'),
        others: [['workers']],
        message:
          'Each worker would ask for a token of its own, and an assertion is good once: write `workers: 1`.',
      }
    }
    if (!source.allowRemote && (!isLoopback(address) || proxyProtocolFrom.length > 0)) {
      yield {
        path: at('address'),
        others: [at('credentials')],
        message:
          'Whoever reaches this address acts as the agent, without any credential: write loopback or a Unix socket, or `allowRemote: true` in `credentialSource`.',
      }
    }
    const { tokenFile, tokenEndpoint: endpoint } = source
    if ((tokenFile === undefined) === (endpoint === undefined)) {
      yield { path: at('credentialSource'), message: 'Write either `tokenFile` or `tokenEndpoint`.' }
    }
    if (endpoint === undefined) continue
    const below = (...path: Path): Path => at('credentialSource', 'tokenEndpoint', ...path)
    const message = urlProblem(endpoint.url)
    if (message !== undefined) yield { path: below('url'), message }
    if ((endpoint.grant === 'jwt-bearer') !== (endpoint.assertionFile !== undefined)) {
      yield {
        path: below('assertionFile'),
        others: [below('grant')],
        message: '`grant: jwt-bearer` and `assertionFile` go together: write both, or neither.',
      }
    }
    const { clientSecretFile, clientKeyFile, audience } = endpoint
    if ((clientSecretFile === undefined) === (clientKeyFile === undefined)) {
      yield { path: below('clientKeyFile'), message: 'Write either `clientKeyFile` or `clientSecretFile`.' }
    }
    if ((clientKeyFile === undefined) !== (audience === undefined)) {
      yield {
        path: below('audience'),
        others: [below('clientKeyFile')],
        message: '`clientKeyFile` and `audience` go together: write both, or neither.',
      }
    }
  }
}

function urlProblem(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return 'Write a whole address, such as `https://sts.example.com/token`.'
  }
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    return 'Whoever sits on the way could read the token: write `https://`. Plain HTTP is for loopback only.'
  }
  return url.username === '' && url.password === ''
    ? undefined
    : 'Leave out the user name and password: write `clientId` and `clientSecretFile`.'
}
