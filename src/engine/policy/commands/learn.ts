/** `policy learn RECORD…`: a proposal on stdout. It guards that it is one: monitor mode, and what is not in it is said in it. */
import { readToolHosts } from '../bundles/tool-hosts.js'
import { type Learned, type LearnedRule, Learner, type Seen } from '../learn-rules.js'
import { loadPolicy } from '../load-policy.js'
import { policyText, type TextRule } from '../policy-text.js'
import { readAttempts } from '../record-attempts.js'
import { type Context, EXIT_FOUND, EXIT_OK, tellFindings } from './context.js'
import { tellBadLines } from './record-words.js'

const HTTPS = 443

export async function learn(
  { files, name }: { files: readonly string[]; name: string },
  context: Context,
): Promise<number> {
  const reader = readAttempts(files)
  const learner = new Learner()
  for await (const attempt of reader.attempts) learner.take(attempt)
  tellBadLines(reader, context)
  const learned = learner.learned()
  const text = learnedText(learned, name)
  for (const line of text.split('\n')) context.out(line)
  const proposal = loadPolicy({ name: 'the proposal', text }, (bundles) => readToolHosts(context.machine, bundles))
  tellFindings(proposal, context.err)
  context.err(`learnt ${learned.rules.length} rules, left out ${learned.leftOut.length}; read it before you enforce it`)
  return proposal.rules === null ? EXIT_FOUND : EXIT_OK
}

/** The file, without the last line end. */
export function learnedText({ rules, unix, leftOut }: Learned, name: string): string {
  const sockets = unix.map(({ path, ...seen }) => ({ path, comment: seenText(seen) }))
  const left = leftOut.map(({ what, why, ...seen }) => `  ${what}: ${why} (${seenText(seen)})`)
  return policyText({
    comments: [
      'Learnt from what was recorded: a proposal. What should not have happened is in it too: read it, then change the mode.',
    ],
    ...{ name, mode: 'monitor', bundles: [], rules: rules.map(ruleText), unix: sockets },
    notes: left.length === 0 ? [] : ['Left out:', ...left],
  })
}

function ruleText({ target, protocol, ports, seen, note, inside }: LearnedRule): TextRule {
  const isUsual = protocol === 'tcp' && ports.length === 1 && ports[0] === HTTPS
  return {
    fields: {
      ...target,
      ...(protocol === 'icmp' || isUsual ? {} : { ports }),
      ...(protocol === 'tcp' ? {} : { protocol }),
      ...(inside.length === 0 ? {} : { allow_private: inside }),
    },
    comments: [`${seenText(seen)}${note === null ? '' : `; ${note}`}`],
  }
}

function seenText({ count, first, last }: Seen): string {
  const day = (time: string) => time.replace(/\.\d+Z$/, 'Z')
  return first === last ? `${count}×, ${day(first)}` : `${count}×, ${day(first)} to ${day(last)}`
}
