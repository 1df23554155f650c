// docs/transparency.md, made from the scenarios so that it cannot fall behind them.
import { SCENARIOS } from './all-scenarios.ts'
import type { MalformedRow } from './malformed.ts'
import { MALFORMED_CONNECTS } from './malformed-connects.ts'
import { MALFORMED_PACKETS } from './malformed-packets.ts'
import { KNOWN_MOSQUITTO } from './pair.ts'

const INTRODUCTION = `# Transparency

<!-- Made by \`npx vitest run test/e2e/transparency.test.ts -u\` from test/transparency; do not edit. -->

Postern denies. What it does not deny is none of its business: under a policy that allows everything, a client cannot
tell whether it talks to the broker or to Postern. This is shown by playing one list of scenarios twice, as the Eclipse
Paho interoperability suite does with its list: once against a Mosquitto, once through Postern against an equal one. Raw
sockets send exact bytes; some scenarios are played by MQTT.js.

    npx node test/transparency/compare.ts        # a line per scenario; exit code 1 when something differs
    npx node test/transparency/compare.ts Will   # those with "Will" in their name

The test suite plays all of them too (\`test/e2e/transparency.test.ts\`, one test per scenario).

## What is compared

- What every **client** was sent: each packet with its type, flags, Packet Identifier, Reason Code, every property in its
  order, topic and payload, and the order of all packets of a connection; and how the connection ended: DISCONNECT and
  its code, FIN or RST.
- What the **broker** was sent on every connection, seen by a recording relay as the last hop: CONNECT with Will and
  properties, every packet behind it byte by byte in the same form, half packets, and the end of the connection.
- Some subscribers connect to the broker past Postern, as independent witnesses.

The packets are read by code of the tests that was written from the specification and shares nothing with \`src/wire\`.

## How Postern is set up

A policy with \`allow: publish+subscribe\` on \`#\` and on \`$SYS/#\` and other \`$\`-topics by name, \`retain: allowed\`,
\`shareGroups: any\`; \`clientId.binding: any\`, \`sessions.delegated: resume\`, \`sessions.unknownRelease: forward\`, and
limits above what the scenarios need. What these settings and limits do otherwise is told in
[configuration.md](configuration.md). On both sides clients send their token as Password; the Mosquitto takes anybody.

## What is normalised

- CONNECT as the broker gets it: User Name and Password, which are Postern's to take and replace; the order of
  properties, except that of User Properties.
- CONNACK: the value of an Assigned Client Identifier, which is random on both sides; the order of properties.
- Message Expiry Interval: rounded up to the next ten seconds, for the broker counts the time that went by.
- DISCONNECT: an empty property list is as good as none.
- Who of two closes first after a DISCONNECT.

Packet Identifiers are not normalised: Postern does not change them. Time is not compared, and neither is what depends
on it: a broker that drops messages for a slow reader drops later behind Postern, which reads ahead by some 256 KiB.
`

const KNOWN = `## Known differences

Seen at Mosquitto ${KNOWN_MOSQUITTO}. A scenario that differs elsewhere, or no longer does, fails.

| scenario | seen at | why |
| --- | --- | --- |
`

const MALFORMED = `## Packets that no client should send

Postern reads every packet by the letter of the specification before it judges it: what two readers could take in two
ways is not let through to be read a second time. Mosquitto ${KNOWN_MOSQUITTO} is more lenient in places, and often closes
without a word. A client that follows the specification does not get here. Of ${MALFORMED_CONNECTS.length + MALFORMED_PACKETS.length} mistakes
that are compared, these have another outcome:

| mistake | directly | through Postern | why |
| --- | --- | --- | --- |
`

/** A cell of a table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

function malformedLine(row: MalformedRow): string[] {
  if (row.differs === undefined) return []
  const [mosquitto, why] = row.differs
  return [`| ${cell(row.name)} | ${mosquitto} | ${row.outcome} | ${cell(why)} |`]
}

export function transparencyDocument(): string {
  const known = SCENARIOS.flatMap(({ name, differs }) =>
    differs ? [`| ${cell(name)} | ${differs.at.join(', ')} | ${cell(differs.why)} |`] : [],
  )
  const malformed = [...MALFORMED_CONNECTS, ...MALFORMED_PACKETS].flatMap(malformedLine)
  const names = SCENARIOS.map(({ name }) => `- ${name}`)
  return [
    `${INTRODUCTION}\n${KNOWN}${known.join('\n')}`,
    `${MALFORMED}${malformed.join('\n')}`,
    `## The ${SCENARIOS.length} scenarios\n\n${names.join('\n')}\n`,
  ].join('\n\n')
}
