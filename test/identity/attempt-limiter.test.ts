import { expect, it } from 'vitest'
import { AttemptLimiter, addressKey } from '../../src/identity/attempt-limiter.ts'
import { FakeClock } from '../support/fake-clock.ts'

it('TOK-18 blocks a key after the allowed failures until the window ends', () => {
  const clock = new FakeClock()
  const limiter = new AttemptLimiter(3, 60_000, clock)
  limiter.countFailure('a')
  clock.advance(30_000)
  limiter.countFailure('a')
  expect(limiter.isBlocked('a')).toBe(false)
  limiter.countFailure('a')
  expect(limiter.isBlocked('a')).toBe(true)
  expect(limiter.isBlocked('b')).toBe(false)
  clock.advance(29_999)
  expect(limiter.isBlocked('a')).toBe(true)
  clock.advance(1)
  expect(limiter.isBlocked('a')).toBe(false)
  limiter.countFailure('a')
  expect(limiter.isBlocked('a')).toBe(false)
})

it('TOK-18 memory is bounded: the key with the oldest window goes first', () => {
  const limiter = new AttemptLimiter(1, 60_000, new FakeClock())
  for (let i = 0; i < 10_000; i++) limiter.countFailure(`key ${i}`)
  expect(limiter.isBlocked('key 0')).toBe(true)
  limiter.countFailure('one more')
  expect(limiter.isBlocked('key 0')).toBe(false)
  expect(limiter.isBlocked('key 1')).toBe(true)
  expect(limiter.isBlocked('one more')).toBe(true)
})

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['::FFFF:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2/64'],
  ['2001:0DB8:0001:0002::9', '2001:db8:1:2/64'],
  ['2001:db8::9', '2001:db8:0:0/64'],
  ['fe80::1%eth0', 'fe80:0:0:0/64'],
  ['::1', '0:0:0:0/64'],
  ['unix', 'unix'],
])('TOK-18 address %s counts as %s', (address, key) => {
  expect(addressKey(address)).toBe(key)
})
