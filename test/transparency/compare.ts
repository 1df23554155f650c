// `npx node test/transparency/compare.ts [TEXT]`: plays every scenario (or those whose name holds TEXT) directly and
// through Postern, and prints what came of it. Exit code 0 when nothing differs but what is known to, else 1.
import { prefixOf, SCENARIOS } from './all-scenarios.ts'
import { playBoth } from './comparison.ts'
import { startPair } from './pair.ts'

const scenarios = SCENARIOS.filter((scenario) => scenario.name.includes(process.argv[2] ?? ''))
const width = Math.max(8, ...scenarios.map((scenario) => scenario.name.length))
let [known, differing] = [0, 0]
const pair = await startPair()
try {
  console.log(`${'scenario'.padEnd(width)}  packets  result`)
  for (const scenario of scenarios) {
    const { lines, unexpected } = await playBoth(scenario, prefixOf(scenario), pair)
    const verdict = scenario.differs ? `differs at ${scenario.differs.at.join(', ')}: known` : 'equal'
    console.log(
      `${scenario.name.padEnd(width)}  ${String(lines).padStart(7)}  ${unexpected.length === 0 ? verdict : 'DIFFERS'}`,
    )
    for (const { text } of unexpected) console.log(text)
    if (unexpected.length > 0) differing++
    else if (scenario.differs) known++
  }
} finally {
  await pair.stop()
}
const equal = scenarios.length - known - differing
console.log(
  `${scenarios.length} scenarios: ${equal} equal, ${known} with a known difference, ${differing} differ`,
)
process.exitCode = differing === 0 ? 0 : 1
