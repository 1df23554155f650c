#!/usr/bin/env node
// What npm puts into the PATH as `postern`: on a Node.js that is too old to read the rest, one sentence in place of a
// SyntaxError. Imports nothing before it has looked.

/** The first with Zstandard in node:zlib. Installing asks for less (`engines`): the checkout brings a Node.js of its own. */
const OLDEST = '22.15.0'

const [major = 0, minor = 0, patch = 0] = process.versions.node.split('.').map(Number)
const [oldMajor = 0, oldMinor = 0, oldPatch = 0] = OLDEST.split('.').map(Number)
if ((major - oldMajor || minor - oldMinor || patch - oldPatch) < 0) {
  console.error(
    `postern: needs Node.js ${OLDEST} or newer; this is ${process.versions.node} (${process.execPath}).`,
  )
  process.exitCode = 64
} else {
  await import('./postern.ts')
}
