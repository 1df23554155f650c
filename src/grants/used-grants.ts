// The count of uses of grants, as a port: on disk for one process (use-journal.ts), in a store for replicas. It never
// says twice that a use was taken, whoever asks at the same time, and whatever happened in between (JIT-03).

/**
 * - `taken`: one use is counted, and stays counted after a crash that follows the answer.
 * - `spent`: all uses had been taken before.
 * - `unavailable`: it could not be counted, or nobody knows whether it was. The caller must refuse.
 */
export type Take = 'taken' | 'spent' | 'unavailable'

export interface UsedGrants {
  /**
   * Takes one use.
   *
   * @param key names the grant: equal for equal issuer and `jti` only; hex, at most 64 characters
   * @param maxUses at least 1; of one key always the same
   * @param expiresAtMs milliseconds since the epoch; from then on nobody asks for this key again, and it can be forgotten
   * @returns never rejects
   */
  take(key: string, maxUses: number, expiresAtMs: number): Promise<Take>
  close(): Promise<void>
}
