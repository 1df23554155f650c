// For agents, not for the proxy: answers Postern's challenge, so that a token that is bound to a key can be used with
// MQTT.js or any client that lets AUTH packets be answered. Depends on node:crypto alone. docs/identity.md.

import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, randomUUID, sign } from 'node:crypto'

import { systemClock } from '../clock.ts'

/** Must be that of the proxy (src/identity/proof.ts). */
const EXPORTER_LABEL = 'EXPORTER-postern-mqtt-proof'

export interface ProverOptions {
  /** Private key (EC P-256 or Ed25519) whose thumbprint is the `cnf.jkt` of the token. */
  privateKey: JsonWebKey
  token: string
  /** Audience of the proxy, as in the token. */
  audience: string
  /** MQTT Client Identifier, as in CONNECT. */
  clientId: string
  /** Milliseconds since the epoch; default: the system's clock. */
  now?: () => number
}

/** The part of an AUTH packet that matters here, in the form of MQTT.js. */
interface AuthPacket {
  reasonCode?: number
  properties?: { authenticationMethod?: string; authenticationData?: Buffer }
}

/** The socket, where it is a TLSSocket. */
interface MaybeTls {
  getProtocol?(): string | null
  exportKeyingMaterial?(length: number, label: string, context: Buffer): Buffer
}

/**
 * The proof for one challenge: a compact JWS to be sent as Authentication Data of AUTH 0x18.
 *
 * @param nonce Authentication Data of the proxy's AUTH 0x18
 * @param socket of the connection; under TLS 1.3 the proof is bound to it
 */
export function prove(options: ProverOptions, nonce: Buffer, socket?: MaybeTls): Buffer {
  const now = options.now?.() ?? systemClock.now()
  const key = createPrivateKey({ key: options.privateKey, format: 'jwk' })
  const jwk = createPublicKey(key).export({ format: 'jwk' })
  const isEdwards = key.asymmetricKeyType === 'ed25519'
  const tls13 = socket?.getProtocol?.() === 'TLSv1.3'
  const exported = tls13 ? socket?.exportKeyingMaterial?.(32, EXPORTER_LABEL, Buffer.alloc(0)) : undefined
  const header = { typ: 'dpop-proof+jwt', alg: isEdwards ? 'Ed25519' : 'ES256', jwk }
  const claims = {
    jti: randomUUID(),
    iat: Math.floor(now / 1000),
    ath: createHash('sha256').update(options.token).digest('base64url'),
    nonce: nonce.toString('latin1'),
    actx: {
      type: 'mqtt',
      aud: options.audience,
      client_id: options.clientId,
      ...(exported === undefined ? {} : { tls_exp: exported.toString('base64url') }),
    },
  }
  const signed = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign(isEdwards ? null : 'sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' })
  return Buffer.from(`${signed}.${signature.toString('base64url')}`)
}

/**
 * A `handleAuth` for MQTT.js. Connect with `properties: { authenticationMethod, authenticationData: token }`, then
 * `client.handleAuth = answerChallenge(options, () => client.stream)` before the CONNACK.
 */
export function answerChallenge(
  options: ProverOptions,
  socket: () => unknown,
): (packet: AuthPacket, callback: (error: Error | null, answer?: object) => void) => void {
  return (packet, callback) => {
    const { authenticationMethod, authenticationData } = packet.properties ?? {}
    if (packet.reasonCode !== 0x18 || authenticationData === undefined) return callback(null)
    try {
      const proof = prove(options, authenticationData, socket() as MaybeTls)
      callback(null, {
        cmd: 'auth',
        reasonCode: 0x18,
        properties: { authenticationMethod, authenticationData: proof },
      })
    } catch (error) {
      callback(error as Error)
    }
  }
}
