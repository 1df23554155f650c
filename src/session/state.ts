// The states of a session; session.ts has the picture.

export const State = {
  AWAIT_CONNECT: 0,
  ADMITTING: 1,
  DIALING: 2,
  AWAIT_CONNACK: 3,
  RELAYING: 4,
  CLOSED: 5,
} as const
export type State = (typeof State)[keyof typeof State]
