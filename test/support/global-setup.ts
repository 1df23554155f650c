// Vitest runs this once, before any worker: the suite needs a real Mosquitto, and only this process installs it.
import { findOrInstallMosquitto } from '../../src/dev/mosquitto-install.ts'

export async function setup(): Promise<void> {
  await findOrInstallMosquitto({ log: (line) => console.log(line) })
}
