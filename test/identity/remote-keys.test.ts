import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { KeyAnswer, KeyLoadResult } from '../../src/identity/key-source.ts'
import { RemoteKeys, type RemoteKeysOptions } from '../../src/identity/remote-keys.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { JwksServer } from '../support/tokens.ts'
import { RawSigner } from './raw-signer.ts'

const COOLDOWN_MS = 30_000
const CACHE_MS = 600_000
const STALE_MS = 3_600_000

const one = new RawSigner('one')
const two = new RawSigner('two')

let clock: FakeClock
let server: JwksServer
let results: KeyLoadResult[]
let opened: RemoteKeys[]

beforeEach(async () => {
  clock = new FakeClock()
  server = await new JwksServer([one.jwk]).listen()
  results = []
  opened = []
})
afterEach(async () => {
  await Promise.all(opened.map((keys) => keys.close()))
  await server.close()
})

function open(changes: Partial<RemoteKeysOptions> = {}): RemoteKeys {
  const options = {
    url: server.url,
    algorithms: ['ES256'],
    timeout: 5_000,
    maxBytes: 65_536,
    cooldown: COOLDOWN_MS,
    cacheAge: CACHE_MS,
    staleAge: STALE_MS,
    ...changes,
  }
  const keys = new RemoteKeys(options, clock, (result) => {
    results.push(result)
    for (const resolve of onResult.splice(0)) resolve()
  })
  opened.push(keys)
  return keys
}

const onResult: (() => void)[] = []
/** Resolves when the next fetch has ended. */
function nextResult(): Promise<void> {
  return new Promise((resolve) => onResult.push(resolve))
}

/** Moves the time and lets the fetch that then begins end. */
async function advanceThroughFetch(ms: number): Promise<void> {
  const ended = nextResult()
  clock.advance(ms)
  await ended
}

function reasonOf(answer: KeyAnswer): string {
  return answer.ok ? 'ok' : answer.reason
}

describe('fetching', () => {
  it('KEY-01 gets keys from the configured address', async () => {
    const keys = open()
    expect(keys.ready()).toBe(false)
    await keys.load()
    expect(results).toEqual(['ok'])
    expect(keys.ready()).toBe(true)
    expect(server.requests).toEqual(['/jwks'])
    expect(await keys.keyFor('ES256', 'one')).toMatchObject({ ok: true, key: { kid: 'one', alg: 'ES256' } })
    clock.advance(1_000)
    expect(keys.ageMs()).toBe(1_000)
  })

  it.each([
    ['http://keys.example/jwks'],
    ['http://127.0.0.1.example/jwks'],
    ['http://localhost.example/jwks'],
    ['http://10.0.0.1/jwks'],
    ['http://[::2]/jwks'],
    ['file:///etc/passwd'],
    ['ftp://127.0.0.1/jwks'],
    ['data:application/json,{}'],
    ['jwks'],
    [''],
  ])('KEY-01 refuses the address %j', (url) => {
    expect(() => open({ url })).toThrow(expect.objectContaining({ code: 'ERR_JWKS_URL' }))
  })

  it.each([
    ['https://keys.example/jwks'],
    ['http://localhost:1/jwks'],
    ['http://[::1]:1/jwks'],
    ['http://127.0.0.2:1/'],
  ])('KEY-01 takes the address %s', (url) => {
    expect(() => open({ url })).not.toThrow()
  })

  it.each([
    ['redirect', 'redirect'],
    ['huge', 'too_large'],
    ['html', 'bad_content_type'],
    ['error', 'bad_status'],
    ['garbage', 'bad_key_set'],
    ['no_keys', 'bad_key_set'],
  ] as const)('KEY-01 K5 a server that answers with %s gives no keys', async (behaviour, result) => {
    server.behaviour = behaviour
    const keys = open()
    await keys.load()
    expect(results).toEqual([result])
    expect(server.requests).toEqual(['/jwks'])
    expect(keys.ready()).toBe(false)
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('keys_unavailable')
  })

  it('KEY-01 K5 a server that does not answer is given up after the timeout', async () => {
    server.behaviour = 'hang'
    const keys = open()
    const [request, loaded] = [server.nextRequest(), keys.load()]
    await request
    clock.advance(5_000)
    await loaded
    expect(results).toEqual(['timeout'])
  })

  it('KEY-01 K5 a server that is not there gives no keys', async () => {
    const nobody = await new JwksServer([]).listen()
    const url = nobody.url
    await nobody.close()
    const keys = open({ url })
    await keys.load()
    expect(results).toEqual(['unreachable'])
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('keys_unavailable')
  })

  it('K5 down at start: it is tried again by itself, and then ready', async () => {
    server.behaviour = 'error'
    const keys = open()
    await keys.load()
    await advanceThroughFetch(1_000)
    server.behaviour = 'ok'
    clock.advance(1_999)
    expect(server.requests).toHaveLength(2)
    await advanceThroughFetch(1)
    expect(results).toEqual(['bad_status', 'bad_status', 'ok'])
    expect(keys.ready()).toBe(true)
  })

  it('K5 retries slow down to one per cooldown', async () => {
    server.behaviour = 'error'
    const keys = open()
    await keys.load()
    for (const waitMs of [1, 2, 4, 8, 16, 30, 30].map((s) => s * 1_000)) {
      clock.advance(waitMs - 1)
      const before = server.requests.length
      await advanceThroughFetch(1)
      expect(server.requests.length).toBe(before + 1)
    }
  })
})

describe('unknown key ids', () => {
  it('KEY-02 1000 random kids at once cause one fetch; after the cooldown one more', async () => {
    const keys = open()
    await keys.load()
    const flood = (): Promise<KeyAnswer[]> =>
      Promise.all(Array.from({ length: 1000 }, (_, i) => keys.keyFor('ES256', `random-${i}`)))
    expect(new Set((await flood()).map(reasonOf))).toEqual(new Set(['unknown_key']))
    await flood()
    expect(server.requests).toHaveLength(2)
    clock.advance(COOLDOWN_MS - 1)
    await flood()
    expect(server.requests).toHaveLength(2)
    clock.advance(1)
    await flood()
    expect(server.requests).toHaveLength(3)
  })

  it('KEY-03 a new key works within one refetch', async () => {
    const keys = open()
    await keys.load()
    server.keys = [one.jwk, two.jwk]
    expect(reasonOf(await keys.keyFor('ES256', 'two'))).toBe('ok')
    expect(server.requests).toHaveLength(2)
  })

  it('KEY-03 a removed key is refused after the cache age', async () => {
    const keys = open()
    await keys.load()
    server.keys = [two.jwk]
    clock.advance(CACHE_MS - 1)
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('ok')
    clock.advance(1)
    // The fetch has only begun: the answer waits for it.
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('unknown_key')
    expect(reasonOf(await keys.keyFor('ES256', 'two'))).toBe('ok')
  })
})

describe('a server that is gone', () => {
  it('KEY-04 K5 the last good set serves up to the stale age, then nothing does', async () => {
    const keys = open()
    await keys.load()
    server.behaviour = 'error'
    await advanceThroughFetch(CACHE_MS)
    expect(results).toEqual(['ok', 'bad_status'])
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('ok')
    await advanceThroughFetch(STALE_MS - CACHE_MS - 1)
    expect(keys.ready()).toBe(true)
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('ok')
    clock.advance(1)
    expect(keys.ready()).toBe(false)
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('keys_unavailable')

    server.behaviour = 'ok'
    await advanceThroughFetch(2_000)
    expect(keys.ready()).toBe(true)
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('ok')
  })

  it('KEY-04 while it is known to fail, nobody waits for a fetch that hangs', async () => {
    const keys = open()
    await keys.load()
    server.behaviour = 'error'
    await advanceThroughFetch(CACHE_MS)
    server.behaviour = 'hang'
    const request = server.nextRequest()
    clock.advance(1_000)
    await request
    expect(reasonOf(await keys.keyFor('ES256', 'one'))).toBe('ok')
  })

  it('closing ends everything: no timer is left', async () => {
    const keys = open()
    await keys.load()
    expect(clock.pendingCount).toBe(1)
    await keys.close()
    expect(clock.pendingCount).toBe(0)
  })
})
