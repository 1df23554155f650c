// For agents, not for the proxy: the client's side of RFC 9431's method `ace`. Depends on node:crypto alone.
// docs/identity.md.

import { createHmac, createPrivateKey, type JsonWebKey, randomBytes, sign } from 'node:crypto'

const EXPORTER_LABEL = 'EXPORTER-ACE-MQTT-Sign-Challenge'
const EXPORTED_BYTES = 32
const NONCE_BYTES = 8

/** A private Ed25519 key, or the secret of HS256. */
export type AceKey = JsonWebKey | Buffer

/** The part of an AUTH packet that matters here, in the form of MQTT.js. */
interface AuthPacket {
  reasonCode?: number
  properties?: { authenticationMethod?: string; authenticationData?: Buffer }
}

/** Of a TLSSocket. */
interface Exporter {
  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer
}

/**
 * Authentication Data for CONNECT or for AUTH 0x19.
 *
 * @param proof `proveByExporter` of the connection, in CONNECT only; without it the broker sends a challenge
 */
export function aceData(token: string, proof: Buffer = Buffer.alloc(0)): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(Buffer.byteLength(token))
  return Buffer.concat([length, Buffer.from(token), proof])
}

/** The proof for a new connection under TLS 1.3. */
export function proveByExporter(key: AceKey, socket: Exporter): Buffer {
  return macOrSignature(key, socket.exportKeyingMaterial(EXPORTED_BYTES, EXPORTER_LABEL, Buffer.alloc(0)))
}

/**
 * Authentication Data for AUTH 0x18, the answer to a challenge.
 *
 * @param nonce Authentication Data of the broker's AUTH 0x18
 */
export function answerNonce(
  key: AceKey,
  nonce: Buffer,
  clientNonce: Buffer = randomBytes(NONCE_BYTES),
): Buffer {
  return Buffer.concat([clientNonce, macOrSignature(key, Buffer.concat([nonce, clientNonce]))])
}

/** A `handleAuth` for MQTT.js, to be set before the CONNACK: answers challenges with this key. */
export function answerAce(
  key: AceKey,
): (packet: AuthPacket, callback: (error: Error | null, answer?: object) => void) => void {
  return (packet, callback) => {
    const { authenticationMethod, authenticationData } = packet.properties ?? {}
    if (packet.reasonCode !== 0x18 || authenticationData === undefined) return callback(null)
    try {
      const answer = answerNonce(key, authenticationData)
      const properties = { authenticationMethod, authenticationData: answer }
      callback(null, { cmd: 'auth', reasonCode: 0x18, properties })
    } catch (error) {
      callback(error as Error)
    }
  }
}

function macOrSignature(key: AceKey, content: Buffer): Buffer {
  if (Buffer.isBuffer(key)) return createHmac('sha256', key).update(content).digest()
  return sign(null, content, createPrivateKey({ key, format: 'jwk' }))
}
