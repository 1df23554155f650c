// What one connection may make Postern keep of requests without an answer, and how Postern takes subscriptions away.
import { describe, expect, test } from 'vitest'
import { SessionMemory } from '../../src/session/session-memory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ack, prop, publish, suback, subscribe, unsuback, unsubscribe } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { OK_POLICY, type RigOptions, SessionRig } from '../support/session-rig.ts'

const OTHER = OK_POLICY.replaceAll('ok/#', 'other/#')
const NOTES_ONLY = OK_POLICY.replaceAll('ok/#', 'ok/notes/#')
const MEBIBYTE = 2 ** 20
const long = (i: number | string): string => `ok/${i}/${'x'.repeat(60_000)}`

const rig = (options: RigOptions = {}): Promise<SessionRig> => new SessionRig(options).connect()

/** A session that holds these subscriptions. */
async function holding(filters: readonly string[], properties: Buffer[] = []): Promise<SessionRig> {
  const it = await new SessionRig().connect({}, { properties })
  filters.forEach((filter, i) => {
    it.fromClient(subscribe({ packetId: i + 1, filters: [[filter, 2]] }))
    it.fromServer(suback([2], i + 1))
  })
  it.forget()
  return it
}

/** Bytes that reached the broker. */
function countForwarded(it: SessionRig, packets: Iterable<Buffer>): number {
  let bytes = 0
  for (const packet of packets) {
    it.fromClient(packet)
    bytes += it.toServer.length
    if (it.server !== undefined) it.server.writes.length = 0
  }
  return bytes
}

describe('peers.G3 requests that the broker does not answer are bounded', () => {
  test('UNSUBSCRIBE: above it UNSUBACK 0x83, and nothing reaches the broker', async () => {
    const it = await rig()
    const ids = Array.from({ length: 100 }, (_, i) => i + 1)
    expect(
      countForwarded(
        it,
        ids.map((id) => unsubscribe([long('u')], id)),
      ),
    ).toBeLessThan(MEBIBYTE + 1024)
    const refused = packetsIn(it.toClient)
    expect(refused.length).toBeGreaterThan(80)
    for (const packet of refused) expect(packet).toMatchObject({ cmd: 'unsuback', granted: [0x83] })
    expect(it.event('unsubscribe')?.effect).toBe('unsuback 0x83')
  })

  test('SUBSCRIBE to one filter that is known already: above it SUBACK 0x97', async () => {
    const it = await holding([long('s')])
    const ids = Array.from({ length: 100 }, (_, i) => i + 2)
    const packets = ids.map((packetId) => subscribe({ packetId, filters: [[long('s'), 0]] }))
    expect(countForwarded(it, packets)).toBeLessThan(MEBIBYTE + 1024)
    expect(packetsIn(it.toClient).at(-1)).toMatchObject({ cmd: 'suback', granted: [0x97] })
  })

  test('SUBSCRIBEs ahead of their SUBACK: what is granted in the end stays within the budget', async () => {
    const it = await rig()
    const ids = Array.from({ length: 100 }, (_, i) => i + 1)
    for (const id of ids) it.fromClient(subscribe({ packetId: id, filters: [[long(id), 0]] }))
    for (const { messageId } of packetsIn(it.toServer)) it.fromServer(suback([0], messageId!))
    let bytes = 0
    for (const filter of it.session.memory.subscriptions.keys()) bytes += filter.length
    expect(bytes).toBeGreaterThan(MEBIBYTE / 2)
    expect(bytes).toBeLessThanOrEqual(MEBIBYTE)
  })

  test.each([
    ['filters of one byte', (many: string[], id: number) => unsubscribe(many, id)],
    [
      'filters that are refused in the same SUBSCRIBE',
      (many: string[], packetId: number) =>
        subscribe({ packetId, filters: ['ok/a', ...many].map((filter) => [filter, 0] as const) }),
    ],
  ])('%s cost something too', async (_, request) => {
    const it = await rig()
    const many = Array.from({ length: 63 }, () => 'a')
    it.fromClient(...Array.from({ length: 600 }, (_, i) => request(many, i + 1)))
    const forwarded = packetsIn(it.toServer).length
    expect(forwarded).toBeGreaterThan(400)
    expect(forwarded).toBeLessThan(530)
    expect(it.session.relaying).toBe(true)
  })

  test('requests that wait and QoS 2 messages that are not released share it', async () => {
    const it = await rig()
    for (let id = 1; id <= 100; id++) it.fromClient(unsubscribe([long('u')], id))
    it.forget()
    const message = publish({ topic: long('p'), qos: 2, packetId: 500 })
    it.fromClient(message)
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'pubrec', reasonCode: 0x97 }])
  })

  test('an answer gives its share back', async () => {
    const it = await rig()
    for (let id = 1; id <= 100; id++) {
      it.fromClient(unsubscribe([long('u')], id))
      it.fromServer(unsuback([0x11], id))
      it.fromClient(subscribe({ packetId: id, filters: [[long('s'), 0]] }))
      it.fromServer(suback([0x80], id))
    }
    const answers = packetsIn(it.toClient)
    expect(answers).toHaveLength(200)
    for (const packet of answers) expect(packet).not.toMatchObject({ granted: [0x83] })
    for (const packet of answers) expect(packet).not.toMatchObject({ granted: [0x97] })
  })

  test('a session that is full can still unsubscribe', async () => {
    const it = await rig()
    for (let id = 1; id <= 100; id++) {
      it.fromClient(subscribe({ packetId: id, filters: [[long(id), 0]] }))
      if (it.session.subscriptions.isPending(id)) it.fromServer(suback([0], id))
    }
    it.forget()
    const request = unsubscribe([long(1)], 7)
    it.fromClient(request)
    expect(it.toServer).toEqual(request)
  })

  test('a refused UNSUBSCRIBE leaves its identifier free', async () => {
    const it = await holding(['ok/s'])
    for (let id = 1; id <= 20; id++) it.fromClient(unsubscribe([long('u')], id))
    it.forget()
    it.fromClient(unsubscribe([long('u')], 32_769))
    expect(packetsIn(it.toClient)).toMatchObject([{ granted: [0x83] }])
    it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: 2 }))
    it.forget()
    it.usePolicy(NOTES_ONLY)
    expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'unsubscribe', messageId: 32_769 }])
  })
})

describe('UNSUBSCRIBE packets of Postern’s own', () => {
  const filters = Array.from({ length: 60 }, (_, i) => `ok/${'ö'.repeat(50)}/${i}`)

  test.each([1000, 160, 50])(
    'keep to a Maximum Packet Size of %i, with one filter at least',
    async (most) => {
      const it = await holding(filters, [prop.maximumPacketSize(Math.max(most, 160))])
      it.session.serverMaximumPacketSize = most
      it.usePolicy(OTHER)
      const packets = packetsIn(it.toServer)
      expect(
        packets.flatMap((packet) => (packet.cmd === 'unsubscribe' ? packet.unsubscriptions : [])),
      ).toEqual(filters)
      for (const write of it.server!.writes) {
        const [packet] = packetsIn(write)
        const count = packet?.cmd === 'unsubscribe' ? packet.unsubscriptions.length : 0
        if (count !== 1) expect(write.length).toBeLessThanOrEqual(most)
      }
      expect(packets).toHaveLength(most === 1000 ? 7 : 60)
    },
  )

  test('are filled up to 64 KiB where the broker sets no limit', async () => {
    const it = await holding(Array.from({ length: 10 }, (_, i) => `ok/${i}/${'x'.repeat(20_000)}`))
    it.usePolicy(OTHER)
    for (const write of it.server!.writes) expect(write.length).toBeLessThanOrEqual(64 * 1024)
    expect(packetsIn(it.toServer)).toHaveLength(4)
  })

  test('go once per filter, however often the policy changes before the answer', async () => {
    const it = await holding(['ok/a'])
    it.usePolicy(OTHER)
    it.usePolicy('version: 1')
    expect(packetsIn(it.toServer)).toHaveLength(1)
    expect(it.decisions).toEqual(['unsubscribe rights_narrowed forwarded'])
  })

  test('go again after the broker has refused one, or the agent has subscribed anew', async () => {
    const it = await holding(['ok/a', 'ok/b'])
    it.usePolicy(NOTES_ONLY)
    const [request] = packetsIn(it.toServer)
    it.fromServer(unsuback([0x80, 0], request!.messageId!))
    it.forget()
    it.usePolicy(OTHER)
    expect(packetsIn(it.toServer)).toMatchObject([{ unsubscriptions: ['ok/a'] }])
    it.usePolicy(OK_POLICY)
    it.fromClient(subscribe({ packetId: 9, filters: [['ok/a', 0]] }))
    it.forget()
    it.usePolicy(OTHER)
    expect(packetsIn(it.toServer)).toMatchObject([{ unsubscriptions: ['ok/a'] }])
  })
})

describe('peers.G5 the identifier of a request of Postern’s own', () => {
  const own = (it: SessionRig): number =>
    packetsIn(it.toServer).find((p) => p.cmd === 'unsubscribe')!.messageId!

  test.each([
    ['takes the lowest free one', [1, 2, 3], 3],
    ['counts upwards', [1000, 1001, 1002], 1002],
    ['is about to begin anew', [65_533, 65_534, 65_535], 65_535],
    ['counts downwards', [3, 2, 1], 1],
  ])('is thousands away from those of an agent that %s', async (_, ids, last) => {
    const it = await holding(['ok/s'])
    for (const packetId of ids) {
      it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId }))
      it.fromServer(ack('puback', packetId))
    }
    it.usePolicy(NOTES_ONLY)
    const away = Math.abs(own(it) - last)
    expect(Math.min(away, 65_535 - away)).toBeGreaterThan(30_000)
    expect(own(it)).toBeGreaterThan(1024)
  })

  test('is not one of the low 1,024 even where half of all identifiers back lies one', async () => {
    const it = await holding(['ok/s'])
    it.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: 32_868 }))
    it.forget()
    it.usePolicy(NOTES_ONLY)
    expect(own(it)).toBeGreaterThan(1024)
    const wrapped = await holding(['ok/s'])
    wrapped.fromClient(publish({ topic: 'ok/notes/a', qos: 1, packetId: 33_000 }))
    wrapped.forget()
    wrapped.usePolicy(NOTES_ONLY)
    expect(own(wrapped)).toBeGreaterThan(1024)
  })

  test('is one of the low 1,024 when all others are in use', async () => {
    const it = await holding(['ok/s'])
    const message = (packetId: number) => publish({ topic: 'ok/notes/a', qos: 1, packetId })
    it.fromClient(...Array.from({ length: 64_511 }, (_, i) => message(i + 1025)))
    it.forget()
    it.usePolicy(NOTES_ONLY)
    expect(own(it)).toBeLessThanOrEqual(1024)
  })

  test('is none of a message that a resumed session has not released', async () => {
    const clock = new FakeClock()
    const shared: RigOptions = {
      clock,
      memory: new SessionMemory(clock, 10),
      config: { sessions: { delegated: 'resume' } },
    }
    const properties = [prop.sessionExpiryInterval(3600)]
    const first = await new SessionRig(shared).connect({ properties })
    first.fromClient(subscribe({ packetId: 1, filters: [['ok/s', 1]] }))
    first.fromServer(suback([1], 1))
    const ids = Array.from({ length: 200 }, (_, i) => 32_768 - 100 + i)
    for (const packetId of ids) first.fromClient(publish({ topic: 'ok/notes/a', qos: 2, packetId }))
    first.session.onClose()
    const second = new SessionRig({ ...shared, policy: NOTES_ONLY })
    let taken = 0
    const session = second.session
    const takeOwn = session.packetIds.takeOwn.bind(session.packetIds)
    session.packetIds.takeOwn = (isHeld) => (taken = takeOwn(isHeld))
    await second.connect({ properties, cleanStart: false }, { sessionPresent: true })
    expect(taken).toBeGreaterThan(0)
    expect(ids).not.toContain(taken)
  })
})

describe('a broker whose UNSUBACK has not one code per filter', () => {
  test.each([
    ['too few', [0]],
    ['too many', [0, 0, 0]],
  ])('%s: the session ends, and nothing of it is believed', async (_, codes) => {
    const it = await holding(['ok/a', 'ok/b'])
    it.fromClient(unsubscribe(['ok/a', 'ok/b'], 7))
    it.fromServer(unsuback(codes, 7), ack('puback', 0x0101))
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x80 }])
    expect(it.event('disconnect')).toMatchObject({ reason: 'server_fault', detail: 'unsuback_count' })
    expect([...it.session.memory.subscriptions.keys()]).toEqual(['ok/a', 'ok/b'])
  })

  test('also when the request was Postern’s own', async () => {
    const it = await holding(['ok/a', 'ok/b'])
    it.usePolicy(OTHER)
    const [request] = packetsIn(it.toServer)
    it.fromServer(unsuback([0], request!.messageId!))
    expect(it.event('disconnect')?.detail).toBe('unsuback_count')
  })
})

test.each([
  ['deny', ['ok/a']],
  ['downgrade', []],
])(
  'a policy that lowers the highest QoS, denial.qosAboveLimit %s: %j is unsubscribed',
  async (mode, lost) => {
    const it = await rig({ config: { denial: { qosAboveLimit: mode } } })
    it.fromClient(
      subscribe({
        packetId: 1,
        filters: [
          ['ok/a', 2],
          ['ok/b', 0],
        ],
      }),
    )
    it.fromServer(suback([2, 0], 1))
    it.forget()
    it.usePolicy(`
version: 1
agents: [{ id: agent-ok, allow: subscribe, topic: ok/#, maxQos: 0 }]
users: [{ id: user-ok, allow: subscribe, topic: ok/# }]
`)
    const requests = packetsIn(it.toServer)
    expect(
      requests.flatMap((packet) => (packet.cmd === 'unsubscribe' ? packet.unsubscriptions : [])),
    ).toEqual(lost)
  },
)
