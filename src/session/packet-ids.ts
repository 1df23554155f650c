// Packet Identifiers that the client has in use towards the server. MQTT 5.0 §2.2.1.
// Postern needs one of its own only for an UNSUBSCRIBE; it must be one that the client does not use, and should be
// one that it does not come to before the server has answered.

/** Clients that take the lowest free identifier stay below this. */
const LOWEST_OWN = 1025

/** Half of all identifiers: as far from a client that counts as one can be, upwards or downwards. */
const DISTANCE = 32_767

export class PacketIds {
  #inUse: Set<number> | undefined
  /** Identifier the client took last. */
  #last = 1
  /** Identifiers of Postern's own requests that the server has not answered. */
  #own: Set<number> | undefined

  /** false: Postern itself holds this identifier, the client must be told 0x91. */
  take(id: number): boolean {
    if (this.#own?.has(id) === true) return false
    this.#inUse ??= new Set()
    this.#inUse.add(id)
    this.#last = id
    return true
  }

  release(id: number): void {
    this.#inUse?.delete(id)
  }

  /**
   * A free identifier for a request of Postern's own, or 0 when all 65,535 are taken.
   *
   * @param isHeld whether an earlier connection of the session left this identifier in use
   */
  takeOwn(isHeld: (id: number) => boolean): number {
    for (const lowest of [LOWEST_OWN, 1]) {
      for (let step = 0; step < 65_535; step++) {
        const id = ((this.#last - 1 + DISTANCE + 65_535 - step) % 65_535) + 1
        if (id < lowest || this.#inUse?.has(id) || this.#own?.has(id) || isHeld(id)) continue
        this.#own ??= new Set()
        this.#own.add(id)
        return id
      }
    }
    return 0
  }

  isOwn(id: number): boolean {
    return this.#own?.has(id) === true
  }

  /** true if the identifier was Postern's own, which is free again. */
  releaseOwn(id: number): boolean {
    return this.#own?.delete(id) === true
  }
}
