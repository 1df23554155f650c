// The states of a session, in their order. Nothing goes back.
//
//   AWAIT_CONNECT --CONNECT--> ADMITTING (<-> CHALLENGED) --verified--> DIALING --connected--> AWAIT_CONNACK --0x00--> RELAYING
//        any state --refusal, fault, expiry, close--> CLOSED

export const State = {
  AWAIT_CONNECT: 0,
  ADMITTING: 1,
  /** Waits for the client's AUTH with the proof of its key. */
  CHALLENGED: 2,
  DIALING: 3,
  AWAIT_CONNACK: 4,
  RELAYING: 5,
  CLOSED: 6,
} as const
export type State = (typeof State)[keyof typeof State]
