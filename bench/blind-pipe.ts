// The ceiling: a proxy in Node that looks at nothing.

import { connect, createServer } from 'node:net'

const [listen, upstream] = process.argv.slice(2).map(Number)
createServer({ noDelay: true }, (client) => {
  const server = connect({ port: upstream!, host: '127.0.0.1', noDelay: true })
  client.pipe(server)
  server.pipe(client)
  client.on('error', () => server.destroy())
  server.on('error', () => client.destroy())
}).listen(listen, '127.0.0.1', 4096)
