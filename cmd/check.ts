// `postern check`: being written.
import { Command } from 'commander'
export function checkCommand(): Command {
  return new Command('check')
}
