// Examples in documentation as code that runs.
import { readFileSync } from 'node:fs'

/**
 * The first JavaScript block of a page that contains `text`, as a function of what it uses. Its imports are left out, and
 * what they name is given.
 *
 * @returns the value of its variable `result`
 */
export function docExample(
  page: string,
  text: string,
  given: Record<string, unknown>,
  result: string,
): unknown {
  const blocks = [...readFileSync(page, 'utf8').matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
    ([, code]) => code!,
  )
  const code = blocks.find((block) => block.includes(text))
  if (code === undefined) throw new Error(`no example with ${text} in ${page}`)
  const body = code.replace(/^import .*$/gm, '')
  return new Function(...Object.keys(given), `${body}\nreturn ${result}`)(...Object.values(given))
}
