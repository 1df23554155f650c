// How the demo looks: one block per step, one line per thing told. Owns layout and colours, no content and no stream.

import { styleText } from 'node:util'

type Style = 'green' | 'red' | 'bold' | 'dim'

/** Width of the column that says what a line tells. */
const LABEL_WIDTH = 8

export class Screen {
  readonly #write: (text: string) => void
  readonly #colours: boolean
  /** The last line can still be overwritten. */
  #progressing = false
  readonly #rewrites: boolean

  /**
   * @param write takes text as it is, newlines included
   * @param options.colours ANSI colours
   * @param options.rewrites a line of progress may replace the one before; otherwise each is a line of its own
   */
  constructor(write: (text: string) => void, options: { colours: boolean; rewrites: boolean }) {
    this.#write = write
    this.#colours = options.colours
    this.#rewrites = options.rewrites
  }

  blank(): void {
    this.plain('')
  }

  plain(text: string): void {
    this.#endProgress()
    this.#write(`${text}\n`)
  }

  heading(text: string): void {
    this.blank()
    this.plain(this.#style('bold', text))
  }

  /** `tries`, `gets`, `why` …: what the line tells, then the text. */
  line(label: string, text: string): void {
    this.plain(`  ${this.#style('dim', label.padEnd(LABEL_WIDTH))}${text}`)
  }

  good(text: string): void {
    this.plain(`  ${this.#style('green', '✓')} ${text}`)
  }

  bad(text: string): void {
    this.plain(`  ${this.#style('red', '✗')} ${this.#style('red', text)}`)
  }

  /** A line that the next line of progress replaces, where the output can do that. */
  progress(label: string, text: string): void {
    if (!this.#rewrites) return this.line(label, text)
    this.#write(`\r\u001b[2K  ${this.#style('dim', label.padEnd(LABEL_WIDTH))}${text}`)
    this.#progressing = true
  }

  #endProgress(): void {
    if (this.#progressing) this.#write('\n')
    this.#progressing = false
  }

  #style(style: Style, text: string): string {
    return this.#colours ? styleText(style, text, { validateStream: false }) : text
  }
}
