// The exit codes that all commands share.

/** Exit codes of every subcommand; 64 is EX_USAGE of sysexits.h. */
export const EXIT = { OK: 0, FAILED: 1, USAGE: 64 } as const
