// Checks of one value that several contradictions share. Pure.

import { isAbsolute, join, normalize } from 'node:path'
import { isLoopbackHost } from './fields.ts'

/** @param file path of the configuration file, where relative paths start */
export function isSameFile(a: string, b: string, file: string): boolean {
  const [one, other] = [a, b].map((path) => normalize(isAbsolute(path) ? path : join(file, '..', path)))
  return one === other
}

/** What is wrong with the address of a key set or of an event stream, if anything is. */
export function checkUrl(text: string): string | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return 'Write a whole address, such as `https://id.example/.well-known/jwks.json`; for a file use `file`.'
  }
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    return 'Whoever sits on the way could put in keys of his own: write `https://`. Plain HTTP is for loopback only.'
  }
  if (url.username !== '' || url.password !== '')
    return 'Leave out the user name and password: key sets are public.'
  return undefined
}
