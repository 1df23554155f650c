// The version in package.json, which lies beside `cmd` in a checkout and above `dist/cmd` in the package.

import { existsSync, readFileSync } from 'node:fs'

const beside = new URL('../package.json', import.meta.url)
const file = existsSync(beside) ? beside : new URL('../../package.json', import.meta.url)

export const version: string = JSON.parse(readFileSync(file, 'utf8')).version
