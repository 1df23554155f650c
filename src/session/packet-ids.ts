// Packet Identifiers that the client has in use towards the server. MQTT 5.0 §2.2.1.
// Postern needs one of its own only for an UNSUBSCRIBE; it must be one that the client does not use.

export class PacketIds {
  #inUse = new Set<number>()
  /** Identifier the client took last. */
  #last = 1
  /** Identifiers of Postern's own requests that the server has not answered. */
  #own = new Set<number>()

  /** false: Postern itself holds this identifier, the client must be told 0x91. */
  take(id: number): boolean {
    if (this.#own.size > 0 && this.#own.has(id)) return false
    this.#inUse.add(id)
    this.#last = id
    return true
  }

  release(id: number): void {
    this.#inUse.delete(id)
  }

  /**
   * A free identifier for a request of Postern's own, or 0 when all 65,535 are taken. It lies just behind the last
   * one the client took, so that a client that counts upwards comes to it last.
   */
  takeOwn(): number {
    for (let step = 1; step < 65_535; step++) {
      const id = ((this.#last - 1 - step + 131_070) % 65_535) + 1
      if (!this.#inUse.has(id) && !this.#own.has(id)) {
        this.#own.add(id)
        return id
      }
    }
    return 0
  }

  /** true if the identifier was Postern's own, which is free again. */
  releaseOwn(id: number): boolean {
    return this.#own.delete(id)
  }
}
