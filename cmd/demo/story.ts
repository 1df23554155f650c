// The story, step by step: what an agent tries, what it gets, why. Played with real clients under the policy of
// deploy/examples/policy-tools.yaml; what is said about rules is held against the audit records.

import { systemClock } from '../../src/clock.ts'
import { type Agent, NO_ANSWER } from './agent.ts'
import { renewal, revocation, stolenToken } from './identity-steps.ts'
import { LEEWAY_MS, lastRecord as last, type Scene } from './stage.ts'
import type { Teller } from './teller.ts'
import { withoutCredential } from './without-credential.ts'

export interface Step {
  title: string
  play(scene: Scene): Promise<void>
}

const CARD = (agent: string): string => `a2a/v1/agents/${agent}/card`
const STATUS = (agent: string): string => `a2a/v1/agents/${agent}/status`
const POST = 'a2a/v1/mcp/tools/create_social_post/call'

const FORWARDED = { decision: 'allow', reason: 'allow', effect: 'forwarded' } as const
/** Life of the token that expires. */
const SHORT_LIFE_MS = 3_000
const SECOND_MS = 1_000

export const STORY: readonly Step[] = [
  { title: 'An agent publishes its own card', play: ownCard },
  { title: 'It publishes the card of another agent', play: foreignCard },
  { title: 'It subscribes to everything, and to its own inbox', play: subscriptions },
  { title: 'An agent may post, its user may not', play: delegation },
  { title: 'Somebody copies a token and comes under another name', play: copiedToken },
  { title: 'A Will on the status of another agent', play: foreignWill },
  { title: 'A token expires in the middle of a session', play: expiry },
  { title: 'A thief copies a token that is bound to a key', play: stolenToken },
  { title: 'A session is renewed, and outlives its first token', play: renewal },
  { title: 'An agent that holds no credential', play: withoutCredential },
  { title: 'A human is revoked', play: revocation },
]

async function ownCard({ stage, tell }: Scene): Promise<void> {
  const analyst = await stage.connect('analyst', await stage.token('analyst', 'u2'))
  await analyst.subscribe(['a2a/v1/agents/+/card'])
  const scout = await stage.connect('scout', await stage.token('scout', 'u1'))
  tell.tries(`scout (for user u1): PUBLISH ${CARD('scout')}, QoS 1, retained`)
  const answer = await scout.publish(CARD('scout'), '{"name":"scout"}', { retain: true })
  if (tell.gets('PUBACK', answer, 0x00)) {
    await analyst.seen(CARD('scout'))
    tell.sees('analyst, who subscribes to a2a/v1/agents/+/card, gets it', true)
  }
  tell.why('own-presence gives each agent agents/{agent_id}/card; the verified token says scout')
  tell.audit(await last(stage, 'publish'), {
    ...FORWARDED,
    agent: 'scout',
    user: 'u1',
    rules: { agent: 'own-presence', user: 'any-user-presence' },
  })
}

async function foreignCard({ stage, tell }: Scene): Promise<void> {
  const scout = stage.agent('scout')
  tell.tries(`scout: PUBLISH ${CARD('analyst')}, QoS 1, retained`)
  const answer = await scout.publish(CARD('analyst'), '{"name":"forged"}', { retain: true })
  tell.gets('PUBACK', answer, 0x87)
  const denied = await last(stage, 'publish')
  // A message sent later on the same connection has arrived: what was sent before and is not there never will be.
  const later = await scout.publish(STATUS('scout'), 'ready', { retain: true })
  if (later === 0x00) await stage.witness.seen(STATUS('scout'))
  const forged = stage.witness.received.some(({ topic }) => topic === CARD('analyst'))
  tell.sees(
    'a subscriber to # at the broker itself gets scout’s next message, and not this one',
    later === 0x00 && !forged,
  )
  tell.why('no rule for agents gives scout that topic; nothing is allowed that no rule allows')
  tell.audit(denied, { decision: 'deny', reason: 'no_rule', effect: 'puback 0x87', rules: { agent: '-' } })
}

async function subscriptions({ stage, tell }: Scene): Promise<void> {
  const filters = ['#', 'a2a/v1/tasks/scout/inbox']
  tell.tries(`scout: one SUBSCRIBE for ${filters.join(' and ')}, QoS 1`)
  const codes = await stage.agent('scout').subscribe(filters)
  tell.gets('SUBACK', codes, [0x87, 0x01])
  tell.why('no rule covers all that # would match; own-tasks gives each agent its own inbox')
  const records = (await stage.records()).filter(({ action }) => action === 'subscribe')
  const [everything, inbox] = filters.map((filter) => records.find((r) => r.resource?.filter === filter))
  tell.audit(everything, { decision: 'deny', reason: 'no_rule', effect: 'suback 0x87' })
  tell.audit(inbox, { ...FORWARDED, rules: { agent: 'own-tasks', user: 'any-user-tasks' } })
}

async function delegation({ stage, tell }: Scene): Promise<void> {
  const post = { responseTopic: 'a2a/v1/mcp/clients/operator/responses' }
  const forU1 = await stage.connect('operator', await stage.token('operator', 'u1'))
  tell.tries(`operator, acting for user u1: PUBLISH ${POST}`)
  tell.gets('PUBACK', await forU1.publish(POST, '{"text":"hello"}', post), 0x87)
  tell.why('the agent’s rules allow it, those of u1 do not; an agent may do what both may do')
  tell.audit(await last(stage, 'publish'), {
    decision: 'deny',
    reason: 'no_rule',
    effect: 'puback 0x87',
    agent: 'operator',
    user: 'u1',
    rules: { user: '-' },
  })

  tell.tries('operator, on the same connection, with a token of u2 in the message: the same')
  const userProperties = { 'postern-token': await stage.token('operator', 'u2') }
  const text = '{"text":"hello for u2"}'
  const answer = await forU1.publish(POST, text, { ...post, userProperties })
  if (tell.gets('PUBACK', answer, 0x00)) {
    await stage.witness.seen(POST)
    const names = stage.witness.received.findLast(({ payload }) => payload === text)?.names ?? {}
    const isTold = names['postern-human'] === 'u2' && !Object.hasOwn(names, 'postern-token')
    tell.sees('whoever receives it reads postern-human: u2, and no token', isTold)
  }
  tell.audit(await last(stage, 'publish'), { ...FORWARDED, agent: 'operator', user: 'u2' })
  await forU1.end()

  const forU2 = await stage.connect('operator', await stage.token('operator', 'u2'))
  tell.tries('operator, acting for user u2: the same')
  tell.gets('PUBACK', await forU2.publish(POST, '{"text":"hello"}', post), 0x00)
  tell.why('may-post allows it to u2')
  tell.audit(await last(stage, 'publish'), {
    ...FORWARDED,
    agent: 'operator',
    user: 'u2',
    rules: { agent: 'call-create-social-post', user: 'may-post' },
  })
  await forU2.end()
}

async function copiedToken({ stage, tell }: Scene): Promise<void> {
  const token = await stage.token('scout', 'u1')
  tell.tries('a thief with scout’s token: CONNECT as mallory')
  const thief = await stage.connect('mallory', token)
  tell.gets('CONNACK', thief.connack, 0x85)
  tell.why('the Client Identifier must be the agent of the token; the record says whose token it was')
  tell.audit(await last(stage, 'connect'), {
    decision: 'deny',
    reason: 'client_id_mismatch',
    effect: 'connack 0x85',
    agent: 'scout',
    user: 'u1',
  })
}

async function foreignWill({ stage, tell }: Scene): Promise<void> {
  await stage.agent('scout').end()
  tell.tries(`scout: CONNECT with a Will “offline” on ${STATUS('analyst')}`)
  const scout = await stage.connect('scout', await stage.token('scout', 'u1'), {
    topic: STATUS('analyst'),
    payload: 'offline',
  })
  tell.gets('CONNACK', scout.connack, 0x87)
  tell.why('a Will is a PUBLISH for later: it is judged like one, before the broker hears of it')
  tell.audit(await last(stage, 'will'), {
    decision: 'deny',
    reason: 'no_rule',
    effect: 'connack 0x87',
    agent: 'scout',
    rules: { agent: '-' },
  })
}

async function expiry({ stage, tell }: Scene): Promise<void> {
  const token = await stage.token('scout', 'u1', SHORT_LIFE_MS)
  const expiresAtMs = expiryOf(token)
  const scout = await stage.connect('scout', token)
  tell.tries(
    `scout, with a token of ${SHORT_LIFE_MS / SECOND_MS} seconds: CONNECT, PUBLISH ${STATUS('scout')}`,
  )
  tell.gets('PUBACK', await scout.publish(STATUS('scout'), 'busy', { retain: true }), 0x00)
  const code = await countDown(scout, expiresAtMs, tell)
  tell.gets('DISCONNECT', code, 0x87)
  tell.sees('the end came when the token did, not before', systemClock.now() >= expiresAtMs)
  tell.why('a session lives no longer than its token (and the configured leeway)')
  tell.audit(await last(stage, 'disconnect'), {
    decision: 'allow',
    reason: 'expired',
    effect: 'disconnect 0x87',
    agent: 'scout',
  })
}

/** @returns what the agent was told at the end; NO_ANSWER when nothing came in time */
async function countDown(agent: Agent, expiresAtMs: number, tell: Teller): Promise<number> {
  const ended = agent.disconnected()
  const latest = expiresAtMs + LEEWAY_MS + 2 * SECOND_MS
  for (let now = systemClock.now(); now < latest; now = systemClock.now()) {
    const left = Math.ceil((expiresAtMs - now) / SECOND_MS)
    tell.progress(
      left > 0 ? `the token has ${left} s left, the session is up` : 'the token has expired; leeway runs',
    )
    const tick = new Promise<undefined>((resolve) => {
      systemClock.after(SECOND_MS, () => resolve(undefined))
    })
    const code = await Promise.race([ended, tick])
    if (code !== undefined) return code
  }
  return NO_ANSWER
}

function expiryOf(token: string): number {
  const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { exp: number }
  return claims.exp * SECOND_MS
}
