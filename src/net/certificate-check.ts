// What is wrong with files that TLS is to be spoken with, ahead of speaking it.

import { createPrivateKey, X509Certificate } from 'node:crypto'

const SOON_MS = 14 * 24 * 3_600_000

export type CertificateFinding = { isUsable: boolean; message: string }

/**
 * Judges the first certificate of a chain, or each of a list of authorities.
 *
 * @param nowMs wall clock
 * @returns undefined when nothing is wrong
 */
export function checkCertificates(pem: string, nowMs: number): CertificateFinding | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g)
  if (blocks === null) return { isUsable: false, message: 'It holds no certificate in PEM.' }
  for (const block of blocks) {
    let certificate: X509Certificate
    try {
      certificate = new X509Certificate(block)
    } catch {
      return { isUsable: false, message: 'A certificate in it cannot be read.' }
    }
    const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
    const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
    if (nowMs >= to) return { isUsable: true, message: `It expired on ${day(to)}: replace it.` }
    if (nowMs < from)
      return { isUsable: true, message: `It is not valid before ${day(from)}: compare the clocks.` }
    if (to - nowMs < SOON_MS) return { isUsable: true, message: `It expires on ${day(to)}: replace it soon.` }
  }
  return undefined
}

/** @param cert PEM of the certificate that it must belong to; undefined: not compared */
export function checkPrivateKey(pem: string, cert: string | undefined): CertificateFinding | undefined {
  let key: ReturnType<typeof createPrivateKey>
  try {
    key = createPrivateKey(pem)
  } catch {
    return { isUsable: false, message: 'It holds no private key in PEM that can be read.' }
  }
  let isIts = true
  try {
    isIts = cert === undefined || new X509Certificate(cert).checkPrivateKey(key)
  } catch {
    // That the certificate cannot be read is told of it.
  }
  return isIts ? undefined : { isUsable: false, message: 'It does not belong to the certificate.' }
}
