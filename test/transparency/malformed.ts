// Packets that no client should send. Postern reads every packet by the letter of the specification before it judges
// it; stock brokers are more lenient in places, or end the connection without a word. Every row says what Postern does;
// where a stock Mosquitto does something else, what that is and why Postern does not follow.
import type { Stage } from './stage.ts'

export interface MalformedRow {
  /** The mistake; also the name of the test. */
  name: string
  /** Sent in a session that was just established. */
  bytes?: Buffer
  /** Or: sent as the first packet. */
  first?: (stage: Stage) => Buffer
  /** What a client of Postern sees, in the words of `outcomeOf`. */
  outcome: string
  /** What a client of Mosquitto sees, and why Postern does otherwise. Absent: the same. */
  differs?: readonly [mosquitto: string, why: string]
}

/** Outcomes that many rows have. */
export const CLOSED = 'closed'
export const ON = 'goes on'
export const MALFORMED_PACKET = 'DISCONNECT 0x81, closed'
export const PROTOCOL_ERROR = 'DISCONNECT 0x82, closed'

/** Reasons that many rows have. */
export const SAYS_WHY = 'Both end the connection; Postern says why (§4.13.2).'
export const OTHER_CODE = (section: string): string =>
  `Both end the connection; Postern with the Reason Code that ${section} names.`

/** A packet sent in a session. */
export function row(
  name: string,
  bytes: Buffer,
  outcome: string,
  differs?: MalformedRow['differs'],
): MalformedRow {
  return { name, bytes, outcome, ...(differs ? { differs } : {}) }
}

/**
 * What the client sees after the mistake: Reason Codes and packets in order, and whether the connection goes on. FIN
 * or RST is left to chance here: a broker that does not read what it no longer wants causes RST.
 */
export async function outcomeOf(mistake: MalformedRow, stage: Stage): Promise<string> {
  const control = await stage.open('control')
  const link = await stage.dial('a')
  if (mistake.first === undefined) {
    link.send(stage.connect('a'))
    await link.take('CONNACK')
  }
  const before = link.lines.length
  link.send(mistake.first === undefined ? mistake.bytes! : mistake.first(stage))
  // The packets of another connection go the same way behind it: afterwards there is an answer, if there will be one.
  for (let i = 0; i < 2; i++) await control.fence()
  const goesOn = link.isClosed ? false : await Promise.race([link.fence().then(() => true), link.closed()])
  const seen = link.lines.slice(before).map((line) => {
    if (line.startsWith('closed')) return CLOSED
    const code = /^(CONNACK) flags \d (0x..)|^(DISCONNECT) (0x..)/.exec(line)
    return code === null ? line : code.slice(1).filter(Boolean).join(' ')
  })
  control.hangUp()
  link.hangUp()
  return goesOn === true ? [...seen.filter((line) => line !== 'PINGRESP'), ON].join(', ') : seen.join(', ')
}
