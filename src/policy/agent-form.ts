// The rule form of MQTT.Agent documents as rules of our own form: `{$self}` becomes the claim that `binding` names;
// any QoS, and retained or not, as that form assumes. agent-layer rules only.
import type { Rule } from './rule.ts'
import { type RuleContext, readRule } from './rule-reader.ts'

/** The claims that `binding` may name (MQTT.Agent Substrate 1.2). */
export const AGENT_BINDINGS = ['agent_id', 'user_id', 'org_id', 'tool_id', 'server_id'] as const

export interface RawAgentRule {
  id?: string | undefined
  topic: string
  action: 'pub' | 'sub' | 'pub+sub'
  binding?: (typeof AGENT_BINDINGS)[number] | undefined
  agents?: string[] | undefined
}

const ACTIONS = { pub: 'publish', sub: 'subscribe', 'pub+sub': 'publish+subscribe' } as const

const SELF = '{$self}'
const SHARED = /^\$share\/([^/]*)\/(.*)$/
const TOOL_CALL = /(?:^|\/)mcp\/tools\/([^/+#]+)\/call$/

/**
 * @param id used when the rule has none
 * @returns the rule, as far as it can be read: use it only when nothing was reported.
 */
export function readAgentRule(
  raw: RawAgentRule,
  id: string,
  context: Omit<RuleContext, 'layer' | 'retain' | 'requires' | 'sharedOnly'>,
): Rule {
  const binding = raw.binding ?? 'agent_id'
  if (raw.binding === undefined && raw.topic.includes(SELF)) {
    context.report('binding', '`{$self}` needs a `binding`: write `"binding": "agent_id"`, for example')
  }
  const text = raw.topic.replaceAll(SELF, `{${binding}}`)
  const [, group, filter = text] = SHARED.exec(text) ?? []
  if (group !== undefined && raw.action !== 'sub') {
    context.report(
      'action',
      '`$share` topics can only be subscribed to: write `"action": "sub"`, and another rule to publish',
    )
  }
  return readRule(
    {
      id: raw.id ?? id,
      allow: ACTIONS[raw.action],
      topic: filter,
      shareGroups: raw.action === 'pub' ? undefined : groupsOf(group, filter),
      ...(raw.agents === undefined ? {} : { when: { [binding]: raw.agents } }),
    },
    {
      ...context,
      known: new Set([...context.known, binding]),
      layer: 'agent',
      retain: 'allowed',
      requires: raw.binding === undefined ? [] : [raw.binding],
      sharedOnly: group !== undefined,
    },
  )
}

/** The form has no key for groups: the topic names one, or it is the group that the MCP profile fixes for a tool. */
function groupsOf(group: string | undefined, filter: string): 'any' | string[] | undefined {
  if (group !== undefined) return group === '+' ? 'any' : [group]
  const tool = TOOL_CALL.exec(filter)?.[1]
  return tool === undefined ? undefined : [`mcp-tool-${tool}`]
}
