// Self-signed certificates for tests, made with OpenSSL.
import { execFileSync } from 'node:child_process'
import { hash, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificate {
  /** PEM. */
  cert: string
  key: string
  /** `x5t#S256` */
  thumbprint: string
}

/** P-256, good for two days. */
export function selfSigned(name: string): Certificate {
  const directory = mkdtempSync(join(tmpdir(), 'postern-cert-'))
  try {
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const subject = ['-subj', `/CN=${name}`, '-days', '2', '-keyout', key, '-out', cert]
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    execFileSync('openssl', ['req', '-x509', ...curve, ...subject], { stdio: 'ignore' })
    const pem = readFileSync(cert, 'utf8')
    const thumbprint = hash('sha256', new X509Certificate(pem).raw, 'base64url')
    return { cert: pem, key: readFileSync(key, 'utf8'), thumbprint }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
