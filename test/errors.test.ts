// docs/errors.md and the code name the same errors.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

/** Codes of other libraries, which we only look for. */
const FOREIGN = /^ERR_(JOSE|JWS|JWT|UND)_/

function codesInCode(): string[] {
  const files = ['src', 'cmd'].flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(`${root}/${name}`, 'utf8')),
  )
  const codes = files.flatMap((text) => [...text.matchAll(/'(ERR_[A-Z_]+)'/g)].map((match) => match[1]!))
  return [...new Set(codes)].filter((code) => !FOREIGN.test(code)).sort()
}

const document = readFileSync('docs/errors.md', 'utf8')

it('every error has a row with its meaning and what to do, and every row has an error', () => {
  const rows = [...document.matchAll(/^\| `(ERR_[A-Z_]+)` \| (\S.+) \| (\S.+) \|$/gm)].map(
    (match) => match[1]!,
  )
  expect(rows.toSorted()).toEqual(codesInCode())
})

it('the text around names no error that is not there', () => {
  const named = [...document.matchAll(/ERR_[A-Z_]+/g)].map((match) => match[0])
  expect(named.filter((code) => !codesInCode().includes(code))).toEqual([])
})
