// The floor: a proxy that takes every packet apart with mqtt-packet and puts it together again.

import { connect, createServer, type Socket } from 'node:net'
import { generate, parser } from 'mqtt-packet'

const [listen, upstream] = process.argv.slice(2).map(Number)
const V5 = { protocolVersion: 5 } as const

function relay(from: Socket, to: Socket): void {
  const reader = parser(V5)
  reader.on('packet', (packet) => to.write(generate(packet, V5)))
  from.on('data', (chunk) => {
    to.cork()
    reader.parse(chunk)
    to.uncork()
    if (to.writableNeedDrain) {
      from.pause()
      to.once('drain', () => from.resume())
    }
  })
  from.on('close', () => to.destroy())
  from.on('error', () => to.destroy())
}

createServer({ noDelay: true }, (client) => {
  const server = connect({ port: upstream!, host: '127.0.0.1', noDelay: true })
  relay(client, server)
  relay(server, client)
}).listen(listen, '127.0.0.1', 4096)
