// What was allowed leaves only after its record: every way by which a chunk can end, with an audit log that has it or
// has it not.
import { describe, expect, test } from 'vitest'
import { connect, disconnect, PINGREQ, publish, subscribe } from '../support/frames.ts'
import { RecordingAudit } from '../support/recording-audit.ts'
import { SessionRig } from '../support/session-rig.ts'

/** Remembers what had left when it was asked to commit. */
class WatchingAudit extends RecordingAudit {
  commitCount = 0
  leftBefore = 0
  rig: SessionRig | undefined

  override commit(): boolean {
    this.commitCount += 1
    this.leftBefore = this.rig?.toServer.length ?? 0
    return super.commit()
  }
}

async function openRig() {
  const audit = new WatchingAudit()
  const it = await new SessionRig({ audit }).connect()
  audit.rig = it
  audit.commitCount = 0
  return { it, audit }
}

const MESSAGE = publish({ topic: 'ok/a', qos: 1, packetId: 1 })

describe('the record comes first', () => {
  test.each([
    ['one packet', MESSAGE],
    [
      'many packets, with one commit',
      Buffer.concat([MESSAGE, publish({ topic: 'ok/b' }), publish({ topic: 'no/a' })]),
    ],
    ['a SUBSCRIBE', subscribe({ filters: [['ok/#', 1]] })],
    ['a packet and the agent’s DISCONNECT', Buffer.concat([MESSAGE, disconnect()])],
    ['a packet and a malformed one', Buffer.concat([MESSAGE, Buffer.of(0xf1, 0)])],
  ])('%s', async (_, bytes) => {
    const { it, audit } = await openRig()
    it.fromClient(bytes)
    expect(audit.leftBefore).toBe(0)
    expect(audit.commitCount).toBe(1)
    expect(it.toServer.length).toBeGreaterThan(0)
  })

  test.each([
    ['a packet', MESSAGE],
    ['a packet and the agent’s DISCONNECT', Buffer.concat([MESSAGE, disconnect()])],
    ['a packet and a malformed one', Buffer.concat([MESSAGE, Buffer.of(0xf1, 0)])],
    [
      'a packet among denied ones',
      Buffer.concat([publish({ topic: 'no/a' }), MESSAGE, publish({ topic: 'no/a' })]),
    ],
  ])('%s: without the record nothing leaves and the connection ends', async (_, bytes) => {
    const { it, audit } = await openRig()
    audit.commits = false
    it.fromClient(bytes)
    expect(it.toServer.length).toBe(0)
    expect([it.client.destroyed, it.server!.destroyed]).toEqual([true, true])
    expect(audit.events.at(-1)).toMatchObject({ action: 'disconnect', reason: 'audit_unavailable' })
  })

  test.each([
    ['PINGREQ', PINGREQ],
    ['a denied packet', publish({ topic: 'no/a', qos: 1, packetId: 1 })],
  ])('%s needs no commit', async (_, bytes) => {
    const { it, audit } = await openRig()
    it.fromClient(bytes)
    expect(audit.commitCount).toBe(0)
    expect(it.client.destroyed).toBe(false)
  })

  test('CONNECT: without the record the broker hears nothing', async () => {
    const audit = new RecordingAudit()
    audit.commits = false
    const it = new SessionRig({ audit })
    it.fromClient(connect({ password: 'a.b.c' }))
    await it.settle()
    expect(it.toServer.length).toBe(0)
    expect(audit.events.at(-1)).toMatchObject({
      action: 'connect',
      decision: 'deny',
      reason: 'audit_unavailable',
    })
  })
})
