// The steps of the story about what a token is worth after CONNECT: bound to a key, renewed, revoked.

import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { systemClock } from '../../src/clock.ts'
import { DEV_ISSUER } from '../../src/dev/issuer.ts'
import { type Agent, NO_ANSWER } from './agent.ts'
import { LEEWAY_MS, lastRecord, type Scene } from './stage.ts'

const STATUS = 'a2a/v1/agents/scout/status'
/** Life of the token that is renewed. */
const SHORT_LIFE_MS = 3_000
const SECOND_MS = 1_000

const newKey = (): JsonWebKey => generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })

export async function stolenToken({ stage, tell }: Scene): Promise<void> {
  const [own, thiefs] = [newKey(), newKey()]
  const token = await stage.boundToken('scout', 'u1', own)
  tell.tries('scout, whose token is bound to its key: CONNECT, and a proof with the key when Postern asks')
  const scout = await stage.connectProving('scout', token, own)
  tell.gets('CONNACK', scout.connack, 0x00)
  await scout.end()
  tell.tries('a thief with a copy of that token, as scout: CONNECT, and a proof with a key of its own')
  const thief = await stage.connectProving('scout', token, thiefs)
  tell.gets('CONNACK', thief.connack, 0x87)
  tell.audit(await lastRecord(stage, 'connect'), {
    decision: 'deny',
    reason: 'proof_failed',
    effect: 'connack 0x87',
  })
  tell.tries('the thief: the copy as Password')
  const bearer = await stage.connect('scout', token)
  tell.gets('CONNACK', bearer.connack, 0x87)
  tell.why('the token names the thumbprint of a key (cnf.jkt): without that key the copy is useless')
  tell.audit(await lastRecord(stage, 'connect'), {
    decision: 'deny',
    reason: 'proof_required',
    effect: 'connack 0x87',
  })
}

export async function renewal({ stage, tell }: Scene): Promise<void> {
  const scout = await stage.connect('scout', await stage.token('scout', 'u1', SHORT_LIFE_MS))
  const oldEndMs = systemClock.now() + SHORT_LIFE_MS + LEEWAY_MS
  tell.tries(`scout, with a token of ${SHORT_LIFE_MS / SECOND_MS} seconds: a fresh one to $postern/token`)
  tell.gets('PUBACK', await scout.publish('$postern/token', await stage.token('scout', 'u1')), 0x00)
  const seen = stage.witness.received.some(({ topic }) => topic === '$postern/token')
  tell.sees('the broker never sees it', !seen)
  tell.audit(await lastRecord(stage, 'renew'), {
    decision: 'allow',
    reason: 'ok',
    effect: 'ack 0x00',
    agent: 'scout',
  })
  await endOrUntil(scout, oldEndMs + SECOND_MS)
  tell.tries(`scout, after the first token has expired: PUBLISH ${STATUS}`)
  const answer = scout.connected ? await scout.publish(STATUS, 'still here', { retain: true }) : NO_ANSWER
  tell.gets('PUBACK', answer, 0x00)
  tell.why('the fresh token is of the same agent and human; its rights and its end replace the former ones')
}

export async function revocation({ stage, tell }: Scene): Promise<void> {
  const token = await stage.token('scout', 'u1')
  const scout = await stage.connect('scout', token)
  const ended = scout.disconnected()
  const analyst = await stage.connect('analyst', await stage.token('analyst', 'u2'))
  tell.tries('an administrator: POST /revocations for the human u1')
  const status = await stage.revoke({ format: 'iss_sub', iss: DEV_ISSUER, sub: 'u1' })
  tell.sees('the call is answered 204 when it is done', status === 204)
  tell.gets('DISCONNECT', await ended, 0x98)
  tell.audit(await lastRecord(stage, 'revoke'), { decision: 'allow', reason: 'revoke', effect: '1 cut' })
  tell.tries('scout: CONNECT with the same token')
  tell.gets('CONNACK', (await stage.connect('scout', token)).connack, 0x87)
  tell.audit(await lastRecord(stage, 'connect'), {
    decision: 'deny',
    reason: 'revoked',
    effect: 'connack 0x87',
    agent: 'scout',
    user: 'u1',
  })
  tell.sees('analyst, who acts for u2, is still connected', analyst.connected)
  tell.why('one order cuts every agent of that human, and keeps tokens from before it out')
}

async function endOrUntil(agent: Agent, atMs: number): Promise<void> {
  const time = new Promise<void>((resolve) => {
    systemClock.after(Math.max(0, atMs - systemClock.now()), () => resolve())
  })
  await Promise.race([agent.disconnected(), time])
}
