// TLS to the broker: certificate authorities and client certificate from files, read again when they change. Bad files
// keep the former ones.

import { readFile } from 'node:fs/promises'
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { UpstreamConfig, UpstreamTlsConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'

export class UpstreamTls {
  readonly #tls: UpstreamTlsConfig
  readonly #host: string
  readonly #readFile: (path: string) => Promise<Buffer>
  #context: SecureContext | undefined

  /** @param read in place of the file system */
  constructor(
    tls: UpstreamTlsConfig,
    { address }: Pick<UpstreamConfig, 'address'>,
    read: (path: string) => Promise<Buffer> = readFile,
  ) {
    this.#readFile = read
    this.#tls = tls
    this.#host = address.host
  }

  /** @throws PosternError ERR_UPSTREAM_TLS; what was loaded before stays in force */
  async load(): Promise<void> {
    const { caFile, certFile, keyFile } = this.#tls
    const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map((file) => this.#read(file)))
    try {
      this.#context = createSecureContext({
        minVersion: 'TLSv1.2',
        ...(ca && { ca }),
        ...(cert && { cert, key }),
      })
    } catch (cause) {
      // The message of OpenSSL names no content of the files.
      const what = (cause as Error).message
      throw new PosternError('ERR_UPSTREAM_TLS', 'internal', `upstream.tls cannot be used: ${what}`, {
        cause,
      })
    }
  }

  /** TLS over a connected socket. The caller waits for `secureConnect`, or `error`. */
  over(socket: Socket): TLSSocket {
    const name = this.#tls.serverName ?? this.#host
    return connect({
      socket,
      host: name,
      ...(isIP(name) === 0 ? { servername: name } : {}),
      ...(this.#context === undefined ? {} : { secureContext: this.#context }),
    })
  }

  async #read(file: string | undefined): Promise<Buffer | undefined> {
    if (file === undefined) return undefined
    return this.#readFile(file).catch((cause: NodeJS.ErrnoException) => {
      const message = `upstream.tls: ${file} cannot be read: ${cause.code}`
      throw new PosternError('ERR_UPSTREAM_TLS', 'internal', message, { cause })
    })
  }
}
