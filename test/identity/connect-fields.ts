// The part of a CONNECT that identity reads: fields laid out in a buffer, offsets in a ConnectHead.
import { ConnectHead } from '../../src/wire/heads.ts'

export interface ConnectFields {
  clientId?: string
  userName?: string
  password?: string
  method?: string
  data?: string
}

export function connectFields(fields: ConnectFields): { source: Buffer; connect: ConnectHead } {
  const connect = new ConnectHead()
  const chunks: Buffer[] = [Buffer.from('before')]
  let length = chunks[0]!.length
  const place = (text: string | undefined): [start: number, end: number] => {
    if (text === undefined) return [-1, -1]
    const bytes = Buffer.from(text)
    chunks.push(bytes)
    length += bytes.length
    return [length - bytes.length, length]
  }
  ;[connect.clientIdStart, connect.clientIdEnd] = place(fields.clientId ?? '')
  ;[connect.userNameStart, connect.userNameEnd] = place(fields.userName)
  ;[connect.passwordStart, connect.passwordEnd] = place(fields.password)
  ;[connect.authenticationMethodStart, connect.authenticationMethodEnd] = place(fields.method)
  ;[connect.authenticationDataStart, connect.authenticationDataEnd] = place(fields.data)
  return { source: Buffer.concat([...chunks, Buffer.from('after')]), connect }
}
