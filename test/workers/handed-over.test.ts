// What one process remembers of a session, in another one: over the serialization that the channel uses.
import { deserialize, serialize } from 'node:v8'
import { expect, it } from 'vitest'
import { PublishRequest } from '../../src/policy/request.ts'
import {
  fillRequest,
  type Release,
  type Remembered,
  SessionMemory,
} from '../../src/session/session-memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { principalOf } from '../support/principal.ts'

const release: Release = {
  ...{
    topic: Buffer.from('a/b'),
    response: Buffer.from('c'),
    retain: true,
    payloadLength: 7,
    granted: false,
  },
  ...{ serial: 3, bearer: principalOf(), releasing: false },
}

it('subscriptions and unreleased messages are the same, and are judged anew', () => {
  const [here, there] = [new SessionMemory(new FakeClock(), 10), new SessionMemory(new FakeClock(), 10)]
  const state = here.open('scout', 'u1', false)
  state.subscribed('$share/g/x/#', 2)
  state.forwarded(9, release)
  there.put('scout', deserialize(serialize(here.look('scout'))) as Remembered)
  const taken = there.open('scout', 'u1', true)
  expect([...taken.subscriptions]).toEqual([['$share/g/x/#', 2]])
  const request = new PublishRequest()
  const got = taken.releaseOf(9)!
  expect(got).toEqual({ ...release, serial: -1 })
  fillRequest(request, got)
  expect(taken.isFreeFor(9, request, principalOf())).toBe(true)
  request.payloadLength = 8
  expect(taken.isFreeFor(9, request, principalOf())).toBe(false)
})

it('another owner gets nothing of it', () => {
  const [here, there] = [new SessionMemory(new FakeClock(), 10), new SessionMemory(new FakeClock(), 10)]
  here.open('scout', 'u1', false).subscribed('x', 0)
  there.put('scout', here.look('scout')!)
  expect(there.open('scout', 'u2', true).subscriptions.size).toBe(0)
})
