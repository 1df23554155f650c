// The states of a session, in their order. Nothing goes back.
//
//   AWAIT_CONNECT --CONNECT--> ADMITTING --verified--> DIALING --connected--> AWAIT_CONNACK --0x00--> RELAYING
//        any state --refusal, fault, expiry, close--> CLOSED

export const State = {
  AWAIT_CONNECT: 0,
  ADMITTING: 1,
  DIALING: 2,
  AWAIT_CONNACK: 3,
  RELAYING: 4,
  CLOSED: 5,
} as const
export type State = (typeof State)[keyof typeof State]
