// What no single key can see, of `store`.

import type { Contradiction, PartialConfig } from './contradictions.ts'

export function* storeContradictions({ store }: PartialConfig): Iterable<Contradiction> {
  if (typeof store !== 'object') return
  const { url, urlFile, tls } = store
  if ((url === undefined) === (urlFile === undefined)) {
    yield {
      path: ['store', 'url'],
      others: [['store', 'urlFile']],
      message: 'Write where the server is: either `url: redis://…` or `urlFile`.',
    }
  }
  if (url !== undefined) {
    const parsed = URL.parse(url)
    if (parsed === null || !['redis:', 'rediss:'].includes(parsed.protocol) || parsed.hostname === '') {
      yield {
        path: ['store', 'url'],
        message:
          'Write a whole address, such as `redis://127.0.0.1:6379/0` or `rediss://store.example:6379`.',
      }
    } else if (parsed.password !== '') {
      yield {
        path: ['store', 'url'],
        message: 'A password in the configuration is easily copied along with it: write `passwordFile`.',
      }
    } else if (tls !== undefined && parsed.protocol === 'redis:') {
      yield {
        path: ['store', 'tls'],
        others: [['store', 'url']],
        message: 'The address says `redis://`, which is without TLS: write `rediss://`.',
      }
    }
  }
  if (tls !== undefined && (tls.certFile === undefined) !== (tls.keyFile === undefined)) {
    yield {
      path: ['store', 'tls', tls.certFile === undefined ? 'certFile' : 'keyFile'],
      message: 'Missing. A client certificate needs both `certFile` and `keyFile`.',
    }
  }
}
