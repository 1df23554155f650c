// What a PUBLISH costs from the agent's socket to the broker's: plain, stamped, and with the token of a human, seen
// before. With the same heads again and again, and with heads that all differ (Correlation Data).

import { CarriedRig, carry } from '../../../test/support/carried.ts'
import { prop, publish } from '../../../test/support/frames.ts'
import { about, time } from '../timing.ts'

about('session: a PUBLISH from the agent to the broker')

const FRAMES = 50
const HUMANS = 10
/** As long as an ES256 token with a dozen claims. */
const tokenOf = (human: number): string =>
  `u${human}.${'c'.repeat(600)}${human}.${String(human).repeat(86).slice(0, 86)}`
const MARK = Buffer.from('--------')

const CASES = [
  ['plain', {}, false],
  ['stamped', { stamp: true }, false],
  ['with a token', { property: 'postern-token' }, true],
] as const

for (const varied of [false, true]) {
  for (const [name, delegation, carries] of CASES) {
    const rig = await new CarriedRig({
      config: { delegation, audit: { file: '-', publishes: 'denied' } },
    }).connect()
    const chunk = Buffer.concat(
      Array.from({ length: FRAMES }, (_, i) => {
        const own = carries ? [carry(tokenOf(i % HUMANS))] : []
        const properties = varied ? [prop.correlationData(MARK), ...own] : own
        return publish({ topic: 'ok/all', payload: 'x'.repeat(64), properties })
      }),
    )
    const marks: number[] = []
    for (let at = chunk.indexOf(MARK); at >= 0; at = chunk.indexOf(MARK, at + 1)) marks.push(at)
    rig.fromClient(chunk)
    for (let i = 0; i < HUMANS; i++) await rig.settle()
    let next = 0
    const what = `${FRAMES} PUBLISH ${name}, heads ${varied ? 'all different' : 'seen before'}`
    const call = (): void => {
      rig.forget()
      for (const at of marks) chunk.writeUInt32BE(next++ >>> 0, at)
      rig.session.onBytes(chunk)
    }
    time(what, call, 2000)
    if (!rig.session.relaying || rig.toServer.length === 0) throw new Error('nothing passed')
  }
}
