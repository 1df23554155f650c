// C2SP signed notes with Ed25519 keys, and the checkpoint text that is signed with them (c2sp.org/signed-note,
// c2sp.org/tlog-checkpoint). Keys have the text forms that other signed-note tools read. Knows no file and no clock.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'

const ED25519 = 0x01
const PRIVATE = 'PRIVATE+KEY+'
/** DER in front of the 32 bytes of a key, RFC 8410. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
/** No white space and no plus sign may stand in a name. */
const NAME = /^[^\s+]{1,200}$/u
const SIGNATURE_LINE = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u

export interface NoteVerifier {
  name: string
  /** First four bytes of SHA-256(name, newline, 0x01, public key). */
  id: Buffer
  key: KeyObject
  /** `name+hex id+base64(0x01, public key)` */
  text: string
}

export interface NoteSigner extends NoteVerifier {
  privateKey: KeyObject
  /** `PRIVATE+KEY+name+hex id+base64(0x01, seed)`; a secret */
  privateText: string
}

/** What a log says of itself at one moment. */
export interface Checkpoint {
  origin: string
  /** Number of records. */
  size: number
  root: Buffer
}

/** A new key, or the one of `seed` (32 bytes). Throws RangeError for a name with white space or a plus sign. */
export function makeSigner(name: string, seed: Buffer = randomBytes(32)): NoteSigner {
  if (!NAME.test(name)) throw new RangeError('a key name has no white space and no plus sign')
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
  const publicBytes = createPublicKey(privateKey)
    .export({ format: 'der', type: 'spki' })
    .subarray(SPKI.length)
  const verifier = verifierOf(name, publicBytes)
  const secret = Buffer.concat([Buffer.of(ED25519), seed]).toString('base64')
  return {
    ...verifier,
    privateKey,
    privateText: `${PRIVATE}${name}+${verifier.id.toString('hex')}+${secret}`,
  }
}

function verifierOf(name: string, publicBytes: Buffer): NoteVerifier {
  const typed = Buffer.concat([Buffer.of(ED25519), publicBytes])
  const id = createHash('sha256').update(`${name}\n`).update(typed).digest().subarray(0, 4)
  const key = createPublicKey({ key: Buffer.concat([SPKI, publicBytes]), format: 'der', type: 'spki' })
  return { name, id, key, text: `${name}+${id.toString('hex')}+${typed.toString('base64')}` }
}

/** Undefined for anything but the text form of a private key. */
export function parseSigner(text: string): NoteSigner | undefined {
  if (!text.startsWith(PRIVATE)) return undefined
  const parts = keyParts(text.slice(PRIVATE.length))
  if (parts === undefined) return undefined
  const signer = makeSigner(parts.name, parts.bytes)
  return signer.privateText === text ? signer : undefined
}

/** Undefined for anything but the text form of a verification key. */
export function parseVerifier(text: string): NoteVerifier | undefined {
  const parts = keyParts(text)
  if (parts === undefined) return undefined
  const verifier = verifierOf(parts.name, parts.bytes)
  return verifier.text === text ? verifier : undefined
}

function keyParts(text: string): { name: string; bytes: Buffer } | undefined {
  const found = /^([^\s+]+)\+[0-9a-f]{8}\+([A-Za-z0-9+/]+=*)$/u.exec(text)
  if (!found) return undefined
  const typed = Buffer.from(found[2]!, 'base64')
  if (typed.length !== 33 || typed[0] !== ED25519) return undefined
  return { name: found[1]!, bytes: typed.subarray(1) }
}

/** The note: text, empty line, signature line. `text` must end with a newline. */
export function signNote(text: string, signer: NoteSigner): string {
  const signature = sign(null, Buffer.from(text), signer.privateKey)
  return `${text}\n— ${signer.name} ${Buffer.concat([signer.id, signature]).toString('base64')}\n`
}

export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

export interface OpenedCheckpoint extends Checkpoint {
  /** The keys, of those that were given, whose signatures are good. */
  signedBy: readonly NoteVerifier[]
}

/**
 * Reads one signed checkpoint.
 *
 * @returns what it says and who signed it, or what is wrong, as a sentence
 */
export function openCheckpoint(note: string, verifiers: readonly NoteVerifier[]): OpenedCheckpoint | string {
  const end = note.lastIndexOf('\n\n')
  if (end < 0 || !note.endsWith('\n')) return 'It is no signed note: no empty line before signatures.'
  const text = note.slice(0, end + 1)
  const signatures = note.slice(end + 2, -1).split('\n')
  const [origin, size, root, ...rest] = text.split('\n')
  if (!origin || !/^(0|[1-9]\d{0,14})$/.test(size ?? '') || rest.at(-1) !== '') {
    return 'It is no checkpoint: origin, size and root must be its first three lines.'
  }
  const rootBytes = Buffer.from(root ?? '', 'base64')
  if (rootBytes.length !== 32 || rootBytes.toString('base64') !== root)
    return 'Its root is not 32 bytes in base64.'
  const signedBy: NoteVerifier[] = []
  for (const line of signatures) {
    const found = SIGNATURE_LINE.exec(line)
    if (!found) return 'A signature line is malformed.'
    const bytes = Buffer.from(found[2]!, 'base64')
    const verifier = verifiers.find((v) => v.name === found[1] && v.id.equals(bytes.subarray(0, 4)))
    // A signature by an unknown key says nothing, good or bad.
    if (verifier === undefined) continue
    if (!verify(null, Buffer.from(text), verifier.key, bytes.subarray(4)))
      return `The signature of ${verifier.name} is wrong.`
    signedBy.push(verifier)
  }
  if (signedBy.length === 0) return 'None of the given keys signed it.'
  return { origin, size: Number(size), root: rootBytes, signedBy }
}

/** Several notes, one behind the other, as single ones. */
export function splitNotes(text: string): string[] {
  return text.match(/(?:(?!— )[^\n]*\n)+?\n(?:— [^\n]*\n)+/gu) ?? []
}
