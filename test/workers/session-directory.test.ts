// The session memory of several workers, with workers that are only their answers.
import { describe, expect, it } from 'vitest'
import type { Remembered } from '../../src/session/session-memory.ts'
import { type Holder, SessionDirectory } from '../../src/workers/session-directory.ts'

class FakeWorker implements Holder {
  readonly moves: string[] = []
  answer: () => Promise<Remembered | undefined> = async () => undefined
  look(): Promise<Remembered | undefined> {
    return this.answer()
  }
  moved(clientId: string): void {
    this.moves.push(clientId)
  }
}

const remembered = (filter: string): Remembered => ({
  ...{ owner: 'u1', subscriptions: [[filter, 1]], releases: [], endsAtMs: 1 },
})

describe('a session', () => {
  it('that nobody is connected to is handed to whoever takes it up', async () => {
    const [directory, one, other] = [new SessionDirectory(10), new FakeWorker(), new FakeWorker()]
    directory.opened(one, 'scout', 'u1')
    directory.closed(one, 'scout', remembered('a'))
    expect(await directory.recall(other, 'scout')).toEqual(remembered('a'))
    directory.opened(other, 'scout', 'u1')
    expect(await directory.recall(other, 'scout')).toBe('yours')
    expect(one.moves).toEqual([])
  })

  it('of a connection at another worker is asked for there, and moves when it is opened', async () => {
    const [directory, one, other] = [new SessionDirectory(10), new FakeWorker(), new FakeWorker()]
    directory.opened(one, 'scout', 'u1')
    one.answer = async () => remembered('live')
    expect(await directory.recall(other, 'scout')).toEqual(remembered('live'))
    expect(one.moves).toEqual([])
    directory.opened(other, 'scout', 'u1')
    expect(one.moves).toEqual(['scout'])
    // The end of the connection that was taken over comes late.
    directory.closed(one, 'scout', remembered('late'))
    expect(await directory.recall(one, 'scout')).toBeUndefined()
  })

  it('whose connection ends while it is asked for is the one it left', async () => {
    const [directory, one, other] = [new SessionDirectory(10), new FakeWorker(), new FakeWorker()]
    directory.opened(one, 'scout', 'u1')
    one.answer = async () => {
      directory.closed(one, 'scout', remembered('left'))
      return undefined
    }
    expect(await directory.recall(other, 'scout')).toEqual(remembered('left'))
  })

  it('that ended with its connection is forgotten', async () => {
    const [directory, one] = [new SessionDirectory(10), new FakeWorker()]
    directory.opened(one, 'scout', 'u1')
    directory.closed(one, 'scout', undefined)
    expect(directory.claim(one, 'scout', 'u2')).toBe('own')
  })

  it('of a worker that has ended is still its owner’s, though what was known of it is gone', async () => {
    const [directory, one, other] = [new SessionDirectory(10), new FakeWorker(), new FakeWorker()]
    directory.opened(one, 'scout', 'u1')
    expect(directory.claim(one, 'scout', 'u1')).toBe('own')
    directory.lost(one)
    one.answer = () => Promise.reject(new Error('gone'))
    expect(await directory.recall(other, 'scout')).toBeUndefined()
    expect(directory.claim(other, 'scout', 'u2')).toBe('foreign')
  })

  it('unused for longest makes room', () => {
    const [directory, one] = [new SessionDirectory(2), new FakeWorker()]
    for (const name of ['a', 'b', 'c']) directory.opened(one, name, 'u1')
    expect(['a', 'b', 'c'].map((name) => directory.claim(one, name, 'u2'))).toEqual([
      'own',
      'foreign',
      'foreign',
    ])
  })
})

describe('a name between CONNECT and CONNACK', () => {
  it('is one owner’s, whichever workers they come to, until the last has released it', () => {
    const [directory, one, other] = [new SessionDirectory(10), new FakeWorker(), new FakeWorker()]
    expect(directory.claim(one, 'scout', 'u1')).toBe('own')
    expect(directory.claim(other, 'scout', 'u1')).toBe('own')
    expect(directory.claim(other, 'scout', 'u2')).toBe('busy')
    directory.release(one, 'scout', 'u1')
    directory.release(one, 'scout', 'u1')
    directory.release(other, 'scout', 'u2')
    expect(directory.claim(other, 'scout', 'u2')).toBe('busy')
    directory.release(other, 'scout', 'u1')
    expect(directory.claim(other, 'scout', 'u2')).toBe('own')
  })
})
