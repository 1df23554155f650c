import fc from 'fast-check'
import { expect, it } from 'vitest'
import { rewriteConnack } from '../../src/wire/connack-rewrite.ts'
import { rewriteConnect } from '../../src/wire/connect-rewrite.ts'
import { Step } from '../../src/wire/packet-reader.ts'
import { rewritePublish } from '../../src/wire/publish-rewrite.ts'
import { narrowSubscribe } from '../../src/wire/subscribe-rewrite.ts'
import * as frames from '../support/frames.ts'
import { type From, newReader, readPackets } from '../support/read-packets.ts'
import {
  connackOptions,
  connectOptions,
  publishOptions,
  subscribeOptions,
  topicName,
} from '../support/wire-arbitraries.ts'

const { prop } = frames
const optionally = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })

function read(frame: Buffer, from: From = 'client') {
  const reader = newReader(from)
  reader.load(frame)
  expect(reader.next()).toBe(Step.HEAD)
  return reader
}

function without(properties: readonly Buffer[], ids: readonly number[]): Buffer[] {
  return properties.filter((property) => !ids.includes(property[0]!))
}

it('C1: a rewritten CONNECT is the client’s without its credential and with the changes', () => {
  const changes = fc.record({
    clientId: topicName,
    userName: optionally(fc.string()),
    password: optionally(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))),
    cleanStart: optionally(fc.boolean()),
    sessionExpiryInterval: optionally(uint32),
    topicAliasMaximum: optionally(fc.integer({ min: 0, max: 65_535 })),
    maximumPacketSize: optionally(fc.integer({ min: 1, max: 0xffff_ffff })),
  })
  fc.assert(
    fc.property(connectOptions, changes, (options, change) => {
      const { userName, password, ...rest } = options
      const gone = [0x15, 0x16]
      const added: Buffer[] = []
      if (change.sessionExpiryInterval !== undefined) gone.push(0x11)
      if (change.sessionExpiryInterval) added.push(prop.sessionExpiryInterval(change.sessionExpiryInterval))
      if (change.topicAliasMaximum !== undefined) gone.push(0x22)
      if (change.topicAliasMaximum) added.push(prop.topicAliasMaximum(change.topicAliasMaximum))
      if (change.maximumPacketSize !== undefined) gone.push(0x27)
      if (change.maximumPacketSize) added.push(prop.maximumPacketSize(change.maximumPacketSize))
      const expected = frames.connect({
        ...rest,
        clientId: change.clientId,
        cleanStart: change.cleanStart ?? options.cleanStart,
        properties: [...without(options.properties, gone), ...added],
        ...(change.userName !== undefined && { userName: change.userName }),
        ...(change.password !== undefined && { password: change.password }),
      })
      const reader = read(frames.connect(options))
      expect(rewriteConnect(reader.source, reader.connect, change)).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

it('a rewritten CONNACK is the server’s with the changes', () => {
  const changes = fc.record({
    assignedClientId: optionally(topicName),
    dropAssignedClientId: fc.boolean(),
    sessionExpiryInterval: optionally(uint32),
    topicAliasMaximum: optionally(fc.integer({ min: 0, max: 65_535 })),
    maximumPacketSize: optionally(fc.integer({ min: 1, max: 0xffff_ffff })),
    authenticationMethod: optionally(topicName),
  })
  fc.assert(
    fc.property(connackOptions, changes, (options, change) => {
      const reader = read(frames.connack(options), 'server')
      const gone: number[] = []
      const added: Buffer[] = []
      if (change.assignedClientId !== undefined || change.dropAssignedClientId) gone.push(0x12)
      if (change.assignedClientId !== undefined)
        added.push(prop.assignedClientIdentifier(change.assignedClientId))
      if (change.sessionExpiryInterval !== undefined) {
        gone.push(0x11)
        added.push(prop.sessionExpiryInterval(change.sessionExpiryInterval))
      }
      if (change.topicAliasMaximum !== undefined) gone.push(0x22)
      if (change.topicAliasMaximum) added.push(prop.topicAliasMaximum(change.topicAliasMaximum))
      if (change.maximumPacketSize !== undefined) {
        gone.push(0x27)
        added.push(prop.maximumPacketSize(change.maximumPacketSize))
      }
      if (change.authenticationMethod !== undefined) {
        gone.push(0x15)
        added.push(prop.authenticationMethod(change.authenticationMethod))
      }
      const properties = [...without(options.properties ?? [], gone), ...added]
      expect(rewriteConnack(reader.source, reader.connack, change)).toEqual(
        frames.connack({ ...options, properties }),
      )
    }),
    { numRuns: 300 },
  )
})

it('H4: a PUBLISH with its alias resolved is the same PUBLISH with a name', () => {
  fc.assert(
    fc.property(publishOptions('client'), topicName, (options, topic) => {
      const before = frames.publish(options)
      const reader = read(before)
      const head = rewritePublish(reader.source, reader, reader.publish, { topic: Buffer.from(topic) })
      const after = Buffer.concat([head, before.subarray(reader.headEnd)])
      expect(after).toEqual(frames.publish({ ...options, topic }))
      expect(readPackets([after], newReader('client'))).toMatchObject({ heads: [{}], fault: undefined })
    }),
    { numRuns: 300 },
  )
})

it('S3: a narrowed SUBSCRIBE is the same SUBSCRIBE with fewer filters', () => {
  const narrowing = fc.array(fc.tuple(fc.boolean(), fc.nat(2)), { minLength: 5, maxLength: 5 })
  fc.assert(
    fc.property(subscribeOptions, narrowing, (options, choices) => {
      const reader = read(frames.subscribe(options))
      const keep = options.filters.map((_, i) => choices[i]![0])
      const codes = options.filters.map(([, old], i) => (old & ~3) | choices[i]![1])
      const filters = options.filters
        .map(([filter], i) => [filter, codes[i]!] as const)
        .filter((_, i) => keep[i])
      expect(narrowSubscribe(reader.source, reader.filters, keep, codes)).toEqual(
        frames.subscribe({ ...options, filters }),
      )
    }),
    { numRuns: 300 },
  )
})
