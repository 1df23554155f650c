import { spawnSync } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  checkpointText,
  makeSigner,
  openCheckpoint,
  parseSigner,
  parseVerifier,
  signNote,
  splitNotes,
} from '../../src/audit/signed-note.ts'

const signer = makeSigner('postern.example/edge-1', Buffer.alloc(32, 7))
const other = makeSigner('postern.example/edge-2', Buffer.alloc(32, 8))
const checkpoint = { origin: signer.name, size: 1200, root: Buffer.alloc(32, 0xab) }
const note = signNote(checkpointText(checkpoint), signer)

describe('AUD-06 a signed note', () => {
  it('is what the Go implementation makes of the same key and text', () => {
    const theirs = parseSigner(
      'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz',
    )!
    expect(theirs.text).toBe('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const text =
      'If you think cryptography is the answer to your problem,\nthen you don’t know what your problem is.\n'.replace(
        '’',
        "'",
      )
    expect(signNote(text, theirs)).toBe(
      `${text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`,
    )
  })

  it('has the lines of a checkpoint: origin, size, root', () => {
    expect(note.split('\n').slice(0, 4)).toEqual([
      'postern.example/edge-1',
      '1200',
      'q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=',
      '',
    ])
  })

  it.runIf(spawnSync('openssl', ['version']).status === 0)('verifies with OpenSSL', () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-note-'))
    try {
      const [text, line] = note.split('\n\n') as [string, string]
      const signature = Buffer.from(line.trim().split(' ')[2]!, 'base64').subarray(4)
      const path = (name: string) => join(directory, name)
      writeFileSync(
        path('key.pem'),
        createPublicKey(signer.key.export({ format: 'pem', type: 'spki' })).export({
          format: 'pem',
          type: 'spki',
        }),
      )
      writeFileSync(path('signature'), signature)
      const verifies = (content: string) => {
        writeFileSync(path('text'), content)
        const args = [
          'pkeyutl',
          '-verify',
          '-pubin',
          '-inkey',
          path('key.pem'),
          '-rawin',
          '-in',
          path('text'),
          '-sigfile',
          path('signature'),
        ]
        return spawnSync('openssl', args).status === 0
      }
      expect(verifies(`${text}\n`)).toBe(true)
      expect(verifies(`${text.replace('1200', '1201')}\n`)).toBe(false)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('is opened with the right key only', () => {
    expect(openCheckpoint(note, [other, signer])).toMatchObject({
      ...checkpoint,
      signedBy: [{ name: signer.name }],
    })
    expect(openCheckpoint(note, [other])).toContain('None of the given keys')
    const sameName = makeSigner(signer.name, Buffer.alloc(32, 9))
    expect(openCheckpoint(note, [sameName])).toContain('None of the given keys')
  })

  it.each([
    ['another size', note.replace('1200', '1201'), 'signature of postern.example/edge-1 is wrong'],
    ['another root', note.replace('q6ur', 'q6us'), 'signature'],
    ['a root of 31 bytes', signNote(`a\n1\n${Buffer.alloc(31).toString('base64')}\n`, signer), '32 bytes'],
    [
      'a size with a zero in front',
      signNote(`a\n01\n${checkpoint.root.toString('base64')}\n`, signer),
      'no checkpoint',
    ],
    ['no origin', signNote(`\n1\n${checkpoint.root.toString('base64')}\n`, signer), 'no checkpoint'],
    ['no signature', note.slice(0, note.indexOf('—')), 'malformed'],
    ['a hyphen for the dash', note.replace('—', '-'), 'malformed'],
    ['no last newline', note.slice(0, -1), 'no signed note'],
    ['nothing', '', 'no signed note'],
  ])('with %s is refused', (_, text, why) => {
    expect(openCheckpoint(text, [signer])).toContain(why)
  })

  it('may hold signatures of others, and stand among others', () => {
    const both = `${note}${signNote(checkpointText(checkpoint), other).split('\n\n')[1]}`
    expect(openCheckpoint(both, [signer])).toMatchObject({ size: 1200 })
    expect(splitNotes(`${both}${note}`)).toEqual([both, note])
  })
})

describe('keys', () => {
  it('are read back from their text forms, and nothing else is', () => {
    expect(parseSigner(signer.privateText)?.text).toBe(signer.text)
    expect(parseVerifier(signer.text)?.id).toEqual(signer.id)
    for (const text of [
      '',
      signer.text,
      `${signer.privateText}x`,
      signer.privateText.replace('postern', 'pastern'),
    ]) {
      expect(parseSigner(text)).toBeUndefined()
    }
    for (const text of ['', 'a+b+c', signer.privateText, signer.text.replace('edge', 'edgy')]) {
      expect(parseVerifier(text)).toBeUndefined()
    }
  })

  it('cannot have a name that would break the note', () => {
    for (const name of ['', 'a b', 'a+b', 'a\nb']) expect(() => makeSigner(name)).toThrow(RangeError)
  })
})
