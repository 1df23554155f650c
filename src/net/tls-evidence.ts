// What a TLS connection shows of its client, for tokens that are bound to a key.

import { hash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { TlsEvidence } from '../identity/confirmation.ts'

/** 32 bytes, as RFC 9266 and RFC 9431 use them. */
const EXPORTED_BYTES = 32

export function evidenceOf(socket: TLSSocket): TlsEvidence {
  return {
    /** A resumed connection may have none, though the first one had (POP-02): then there is no proof of it. */
    get certificate() {
      const { raw } = socket.getPeerCertificate(true) ?? {}
      return raw === undefined ? undefined : hash('sha256', raw, 'base64url')
    },
    get resumed() {
      return socket.isSessionReused()
    },
    exporter: (label) =>
      // Below 1.3 nothing tells whether the value is bound to the handshake (extended master secret).
      socket.getProtocol() === 'TLSv1.3'
        ? socket.exportKeyingMaterial(EXPORTED_BYTES, label, Buffer.alloc(0))
        : undefined,
  }
}
