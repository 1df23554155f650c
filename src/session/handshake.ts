// From CONNECT to CONNACK: admission, client identifier, Will, the connection to the broker, and every way to refuse.
// MQTT 5.0 §3.1, §3.2. Nothing reaches the broker before admission.

import type { Timer } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import { connackWithin } from '../wire/connack-rewrite.ts'
import { rewriteConnect } from '../wire/connect-rewrite.ts'
import { PacketType } from '../wire/control-packet.ts'
import { Fault } from '../wire/fault.ts'
import type { ConnectHead } from '../wire/heads.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { auth, CONNACK_V3_UNACCEPTABLE_VERSION, connack, disconnect } from '../wire/reply.ts'
import { identityOf, ownerOf } from './audit-identity.ts'
import type { Admission, AdmissionChallenge } from './context.ts'
import { hex } from './effect.ts'
import { CONNECT_REFUSALS, type ConnectRefusal, ENDED_AS, Outcome } from './outcome.ts'
import type { Peer } from './ports.ts'
import { PROTOCOL_MAXIMUM_BYTES } from './readers.ts'
import { serverEventsOf } from './recall.ts'
import { willIntervals } from './retained-expiry.ts'
import type { Session } from './session.ts'
import type { Claim } from './session-memory.ts'
import { State } from './state.ts'
import { readWill, type Will } from './will.ts'

/** What an agent may send ahead of its CONNACK, bytes. */
const HELD_BYTES = 256 * 1024

const EMPTY = Buffer.alloc(0)

export class Handshake {
  readonly #session: Session
  #timer: Timer | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  /** The CONNECT, kept until the CONNACK; its offsets point into `#source`. */
  #connect: ConnectHead | undefined
  #source: Buffer = EMPTY
  #assigned = false
  #challenge: AdmissionChallenge | undefined
  #forwarded = false
  /** For whom the name of the MQTT session is reserved, from CONNECT to CONNACK. */
  #owner: string | undefined
  #will: Will | undefined

  constructor(session: Session) {
    this.#session = session
    const { clock, config } = session.context
    this.#timer = clock.after(config.limits.connectTimeout, () => this.refuse('connect_timeout'))
  }

  /** The connection is over: nothing is waited for any more. */
  dispose(): void {
    this.#stopTimer()
    this.#release()
  }

  #stopTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** The name of the MQTT session is no longer kept from others. */
  #release(): void {
    const owner = this.#owner
    this.#owner = undefined
    if (owner !== undefined) this.#session.context.memory.release(this.#session.clientId, owner)
  }

  /** Keeps bytes that came ahead of the CONNACK. false: too many. */
  hold(chunk: Buffer): boolean {
    this.#heldBytes += chunk.length
    if (this.#heldBytes > HELD_BYTES) return false
    if (chunk.length > 0) this.#held.push(Buffer.from(chunk))
    return true
  }

  takeHeld(): Buffer {
    const held = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    this.#heldBytes = 0
    return held
  }

  begin(held: Buffer): void {
    const session = this.#session
    const reader = session.clientReader
    this.#stopTimer()
    this.hold(held)
    this.#connect = reader.connect
    this.#source = reader.fromSeam ? reader.takeSeam() : Buffer.from(reader.source)
    if (session.context.draining) return this.refuse('shutting_down')
    const { host, tls } = session.towardsClient.peer
    session.context
      .admit(this.#source, this.#connect, host, tls, session.recorder.listener)
      .then((admission) => this.#onAdmission(admission))
      .catch((error: unknown) => session.onPanic(error))
  }

  /** The client's AUTH with its proof; `held` is what came behind it. */
  onProof(held: Buffer): void {
    const { clientReader } = this.#session
    const { source, ack: head } = clientReader
    const challenge = this.#challenge!
    this.#challenge = undefined
    this.#stopTimer()
    this.hold(held)
    const [start, end] = [head.authenticationMethodStart, head.authenticationMethodEnd]
    const isExpected =
      head.reasonCode === ReasonCode.CONTINUE_AUTHENTICATION &&
      source.toString('utf8', start, end) === challenge.authenticationMethod
    if (!isExpected) return this.#session.clientFault('unexpected_auth')
    const proof = source.subarray(head.authenticationDataStart, Math.max(0, head.authenticationDataEnd))
    challenge
      .answer(Buffer.from(head.authenticationDataStart < 0 ? EMPTY : proof))
      .then((admission) => this.#onAdmission(admission))
      .catch((error: unknown) => this.#session.onPanic(error))
  }

  /** POP-03: what the client sends next is its proof, within a time. */
  #onChallenge(challenge: AdmissionChallenge): void {
    const session = this.#session
    const { clock, config } = session.context
    this.#challenge = challenge
    this.#timer = clock.after(config.proof.timeout, () => this.refuse('connect_timeout'))
    const { authenticationMethod, data } = challenge
    const packet = auth(ReasonCode.CONTINUE_AUTHENTICATION, {
      authenticationMethod,
      authenticationData: data,
    })
    if (packet.length > (this.#connect!.maximumPacketSize || PROTOCOL_MAXIMUM_BYTES)) {
      return this.refuse('connack_too_large')
    }
    session.towardsClient.peer.write(packet)
    session.challenged(this.takeHeld())
  }

  #onAdmission(admission: Admission | AdmissionChallenge): void {
    const session = this.#session
    const { context, recorder } = session
    if (session.state !== State.ADMITTING) return
    if (admission.ok === 'challenge') return this.#onChallenge(admission)
    if (!admission.ok) {
      // A good token under a foreign Client Identifier: the record says whose token it was.
      if (admission.token !== undefined) {
        const { clientIdStart, clientIdEnd } = this.#connect!
        const asked = this.#source.toString('utf8', clientIdStart, clientIdEnd)
        recorder.identify(identityOf(admission.token, context.pseudonym), asked)
      }
      this.#refuse(admission.reason, admission.reasonCode, admission.reasonString, admission.detail)
      return
    }
    const { principal } = admission
    recorder.identify(identityOf(principal, context.pseudonym), admission.clientId)
    if (context.draining) return this.refuse('shutting_down')
    const bar = context.revocations.enter(session, principal)
    if (bar !== undefined) return this.refuse(bar)
    this.#assigned = admission.assigned
    session.admitted(principal, admission.clientId, admission.authenticationMethod)
    if (!recorder.accepting) return this.refuse('audit_unavailable')
    if (this.#connect!.hasWill) {
      this.#will = readWill(this.#source, this.#connect!, context.config)
      const outcome = this.judgeWill()
      if (outcome !== Outcome.ALLOW) {
        this.#recordWill(outcome)
        return this.refuse('will_denied')
      }
    }
    context
      .dial(serverEventsOf(session), session.towardsClient.peer.name)
      .then(
        async (peer) => {
          const owner = ownerOf(principal)
          const claim = await context.memory.claim(session.clientId, owner)
          if (claim !== 'busy' && claim !== 'full') this.#owner = owner
          this.#onDialed(peer, claim)
        },
        (error: unknown) => {
          context.logger.warn({ err: error, connection: recorder.connectionId }, 'broker unreachable')
          if (session.state === State.DIALING) this.refuse('upstream_unavailable')
        },
      )
      .catch((error: unknown) => session.onPanic(error))
  }

  #onDialed(peer: Peer, claim: Claim): void {
    const session = this.#session
    const { config, clock } = session.context
    if (session.state !== State.DIALING) {
      this.#release()
      return peer.destroy()
    }
    // The policy may have changed while the connection was made.
    const will = session.refreshAdmitted()
    if (this.#will !== undefined) this.#recordWill(will)
    if (will !== Outcome.ALLOW) {
      peer.destroy()
      return this.refuse('will_denied')
    }
    if (claim === 'busy' || claim === 'full') {
      peer.destroy()
      return this.refuse(claim === 'busy' ? 'client_id_busy' : 'too_many_connections')
    }
    session.dialed(peer)
    const connect = this.#connect!
    const principal = session.principal!
    session.forcedFresh = principal.delegated && config.sessions.delegated === 'fresh'
    session.sessionExpiryInterval = session.forcedFresh ? 0 : connect.sessionExpiryInterval
    const { username, password } = config.upstream
    session.recorder.connect(true, 'ok', 'forwarded')
    if (!session.recorder.commit()) return this.refuse('audit_unavailable')
    this.#forwarded = true
    this.#timer = clock.after(config.upstream.connectTimeout, () => this.refuse('upstream_unavailable'))
    session.towardsServer.send(
      rewriteConnect(this.#source, connect, {
        clientId: session.clientId,
        userName: username === undefined ? undefined : fillTemplate(username, principal, session.clientId),
        password: password === undefined ? undefined : Buffer.from(password),
        topicAliasMaximum: Math.min(connect.topicAliasMaximum, config.limits.topicAliases),
        ...willIntervals(session, connect),
        ...this.#will?.stamps.changesFor(principal),
        // What the broker holds for another human or tenant of the same agent is not for this one.
        ...(claim === 'foreign' ? { cleanStart: true } : {}),
        ...(session.forcedFresh ? { cleanStart: true, sessionExpiryInterval: 0 } : {}),
      }),
    )
  }

  /** The CONNACK for the agent, or undefined when the broker refused and the connection ends. */
  onConnack(reader: PacketReader): Buffer | undefined {
    const session = this.#session
    const { config, memory } = session.context
    const head = reader.connack
    const original = reader.fromSeam
      ? reader.takeSeam()
      : reader.source.subarray(reader.frameStart, reader.headEnd)
    this.#stopTimer()
    if (head.reasonCode !== 0) {
      session.towardsClient.peer.write(original)
      this.#recordRefusal('refused_by_broker', `connack ${hex(head.reasonCode)}`)
      this.#closeBoth()
      return undefined
    }
    // The policy may have changed while the broker was asked: a Will that it denies is taken back.
    const will = session.refreshAdmitted()
    if (will !== Outcome.ALLOW) {
      this.#recordWill(will)
      this.refuse('will_denied')
      return undefined
    }
    const connect = this.#connect!
    const { limits } = config
    const clientMaximumPacketSize = connect.maximumPacketSize || PROTOCOL_MAXIMUM_BYTES
    if (head.sessionExpiryInterval >= 0) session.sessionExpiryInterval = head.sessionExpiryInterval
    session.serverMaximumPacketSize = Math.min(
      head.maximumPacketSize || PROTOCOL_MAXIMUM_BYTES,
      PROTOCOL_MAXIMUM_BYTES,
    )
    const packetBytes = Math.min(limits.packetBytes, session.serverMaximumPacketSize)
    const aliasesToServer = Math.min(head.topicAliasMaximum, limits.topicAliases)
    const changes = {
      ...(this.#assigned ? { assignedClientId: session.clientId } : {}),
      ...(aliasesToServer === head.topicAliasMaximum ? {} : { topicAliasMaximum: aliasesToServer }),
      ...(session.forcedFresh && connect.sessionExpiryInterval > 0 ? { sessionExpiryInterval: 0 } : {}),
      ...(packetBytes < session.serverMaximumPacketSize ? { maximumPacketSize: packetBytes } : {}),
      ...(session.authenticationMethod === undefined
        ? {}
        : { authenticationMethod: session.authenticationMethod }),
    }
    const isChanged = Object.keys(changes).length > 0
    const answer = isChanged ? connackWithin(clientMaximumPacketSize, reader.source, head, changes) : original
    if (answer === undefined) {
      this.refuse('connack_too_large')
      return undefined
    }
    session.clientReader.limits.packetBytes = packetBytes
    session.memory = memory.open(session.clientId, ownerOf(session.principal!), head.sessionPresent)
    this.#release()
    session.established({
      keepAliveS: head.serverKeepAlive >= 0 ? head.serverKeepAlive : connect.keepAlive,
      aliasesToServer,
      aliasesToClient: Math.min(connect.topicAliasMaximum, limits.topicAliases),
      clientMaximumPacketSize,
    })
    this.#source = EMPTY
    this.#connect = undefined
    session.clientReader.forgetOpening()
    reader.forgetOpening()
    return answer
  }

  /** Judges the Will by the rights now in force; ALLOW when there is none. */
  judgeWill(): Outcome {
    if (this.#will === undefined) return Outcome.ALLOW
    const { request, stamps } = this.#will
    if (stamps.carriesToken) return Outcome.TOKEN_REFUSED
    const { acl, context } = this.#session
    // The broker would publish it: the one way by which a token could come to the broker.
    const { tokenTopic, grantTopic } = context
    if (tokenTopic?.equals(request.topic) || grantTopic?.equals(request.topic)) return Outcome.RESERVED_TOPIC
    return acl.decidePublish(request)
  }

  #recordWill(outcome: Outcome): void {
    const { recorder, acl } = this.#session
    const { topic, request } = this.#will!
    const effect = outcome === Outcome.ALLOW ? 'forwarded' : 'connack 0x87'
    recorder.will(outcome, acl, { topic, qos: request.qos, retain: request.retain }, effect)
  }

  refuse(reason: ConnectRefusal): void {
    const code = CONNECT_REFUSALS[reason]
    this.#refuse(reason, code, REASON_STRINGS[code])
  }

  clientFault(name: string, reasonCode: number, fault: number): void {
    const { clientReader, towardsClient, state } = this.#session
    const isConnect = state !== State.AWAIT_CONNECT || clientReader.packetType === PacketType.CONNECT
    if (fault === Fault.PROTOCOL_VERSION_3) towardsClient.peer.write(CONNACK_V3_UNACCEPTABLE_VERSION)
    const answer = isConnect && fault !== Fault.PROTOCOL_VERSION_3 ? reasonCode : -1
    this.#refuse('malformed_connect', answer, undefined, name)
  }

  /** Nobody stays who is revoked on the way in; a Will that the broker has already is taken back. */
  revoke(): void {
    const { state, towardsServer } = this.#session
    if (state === State.AWAIT_CONNACK)
      towardsServer.send(disconnect(ReasonCode.SUCCESS, { sessionExpiryInterval: 0 }))
    this.refuse('revoked')
  }

  serverFault(name: string): void {
    this.#session.context.logger.error({ fault: name }, 'the broker broke the protocol before its CONNACK')
    this.refuse('upstream_unavailable')
  }

  serverClosed(): void {
    this.refuse('upstream_unavailable')
  }

  clientClosed(): void {
    const { recorder, state } = this.#session
    if (state !== State.AWAIT_CONNECT) return this.#refuse('closed_before_connack', -1)
    recorder.probed()
    this.#closeBoth()
  }

  #refuse(reason: string, reasonCode: number, reasonString?: string, detail?: string): void {
    const session = this.#session
    if (session.state === State.CLOSED || session.state === State.RELAYING) return
    const answer = reasonCode < 0 ? undefined : this.#refusal(reasonCode, reasonString)
    if (answer !== undefined) session.towardsClient.peer.write(answer)
    this.#recordRefusal(reason, answer ? `connack ${hex(reasonCode)}` : 'closed', detail)
    this.#closeBoth()
  }

  /** A CONNECT has one record: what comes after it was forwarded is the end of what was allowed (AUD-01). */
  #recordRefusal(reason: string, effect: string, detail?: string): void {
    const { recorder } = this.#session
    if (this.#forwarded) recorder.ended(ENDED_AS[reason] ?? 'internal_error', effect, detail)
    else recorder.connect(false, reason, effect, detail)
  }

  /** As much as the client takes, by its Maximum Packet Size [MQTT-3.1.2-24], [MQTT-3.2.2-19]. */
  #refusal(reasonCode: number, reasonString: string | undefined): Buffer | undefined {
    const most = this.#connect?.maximumPacketSize || Number.POSITIVE_INFINITY
    const forms = [
      connack({ reasonCode, ...(reasonString ? { reasonString } : {}) }),
      connack({ reasonCode }),
    ]
    return forms.find((form) => form.length <= most)
  }

  #closeBoth(): void {
    const session = this.#session
    session.towardsClient.peer.end()
    if (session.state === State.AWAIT_CONNACK) {
      // The agent was told that it is not connected, or left before it was: its Will is not to be published.
      if (this.#forwarded) session.towardsServer.send(disconnect(ReasonCode.SUCCESS))
      session.towardsServer.peer.end()
    }
    session.close()
  }
}

const REASON_STRINGS: Readonly<Record<number, string>> = {
  128: 'internal error',
  135: 'not authorized',
  136: 'server unavailable',
  137: 'server busy',
}

/** Fills `{agent_id}`, `{user_id}`, `{org_id}`, `{client_id}`; the configuration admits no other name. */
function fillTemplate(template: string, principal: Principal, clientId: string): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) =>
    name === 'client_id' ? clientId : (principal.attributes.get(name)?.[0] ?? ''),
  )
}
