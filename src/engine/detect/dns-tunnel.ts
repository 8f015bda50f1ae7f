/**
 * `dns_tunnel`: names carry data: labels that no person would write, or more different names below one domain than a program has use for. Told
 * once a domain. A domain is what somebody can register (the public suffix list). Names that only ask for an address's name do not count.
 */
import { getDomain } from 'tldts'
import { clipped, Latest, Met } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { hash32 } from './hash.js'

export interface DnsTunnelThresholds {
  /** Different names below one domain. */
  readonly names: number
  readonly windowMs: number
  /** Characters of encoded text in one name. */
  readonly encoded: number
  /** Different names with less of it. */
  readonly encodedNames: number
}

export const DNS_TUNNEL_DEFAULTS: DnsTunnelThresholds = Object.freeze({
  ...{ names: 100, windowMs: 60_000, encoded: 40, encodedNames: 3 },
})
/** Domains that are watched at once. */
const DOMAINS_MAX = 4
const UIDS_MAX = 6
const TOLD_MAX = 32
const NAME_CHARS_MAX = 253
/** Shorter ones are words, or numbers of machines. */
const LABEL_CHARS_MIN = 20
/** Bits a character; hexadecimal has up to 4, base32 up to 5, words some 3. */
const ENTROPY_MIN = 3.2
const WORD = /[aeiou][^aeiou]{0,3}[aeiou]/g

interface Domain {
  readonly startMs: number
  /** By number, none twice. */
  readonly names: number[]
  readonly encoded: number[]
  readonly uids: Latest<string>
}

export class DnsTunnelDetector implements Detector {
  private readonly limits: DnsTunnelThresholds
  private readonly domains = new Map<string, Domain>()
  private readonly told = new Met(TOLD_MAX)
  private forgotten = 0

  constructor(limits: Partial<DnsTunnelThresholds> = {}) {
    this.limits = { ...DNS_TUNNEL_DEFAULTS, ...limits }
  }

  shed(): number {
    return this.forgotten + this.told.forgotten
  }

  fact(fact: Fact): readonly Finding[] {
    if (fact.kind !== 'name' || fact.name.endsWith('.arpa') || fact.name.length > 2 * NAME_CHARS_MAX) return NONE
    const name = fact.name.slice(0, NAME_CHARS_MAX).toLowerCase()
    const domain = getDomain(name, { allowPrivateDomains: true, validateHostname: false })
    if (domain === null || domain === name || this.told.has(domain)) return NONE
    const data = encodedChars(name.slice(0, -domain.length - 1))
    const seen = this.seen(domain, fact.timeMs)
    seen.uids.push(fact.uid)
    const number = hash32(name)
    // Both grow to what is looked for, and no further.
    if (!seen.names.includes(number)) seen.names.push(number)
    if (data > 0 && !seen.encoded.includes(number)) seen.encoded.push(number)
    return this.judge({ domain, seen, data })
  }

  private judge({ domain, seen, data }: { domain: string; seen: Domain; data: number }): readonly Finding[] {
    const { names, encoded, encodedNames, windowMs } = this.limits
    const seconds = windowMs / 1000
    const of = { domain, seen }
    if (data >= encoded) {
      const reason = `a name below ${domain} holds ${data} characters of encoded text`
      return this.found({ ...of, reason, measured: data, threshold: encoded })
    }
    if (seen.encoded.length >= encodedNames) {
      const reason = `${seen.encoded.length} names below ${domain} within ${seconds} s hold encoded text`
      return this.found({ ...of, reason, measured: seen.encoded.length, threshold: encodedNames })
    }
    if (seen.names.length <= names) return NONE
    const reason = `${seen.names.length} different names below ${domain} were asked for within ${seconds} s`
    return this.found({ ...of, reason, measured: seen.names.length, threshold: names })
  }

  private found(of: { domain: string; seen: Domain; reason: string; measured: number; threshold: number }): Finding[] {
    const { domain, seen, reason, measured, threshold } = of
    this.told.add(domain)
    this.domains.delete(domain)
    return [
      {
        ...{ detector: 'dns_tunnel', severity: 'high', title: 'Names that carry data', reason: clipped(reason, 400) },
        ...{ evidence: seen.uids.all(), measured, threshold, baseline: null },
      },
    ]
  }

  private seen(domain: string, timeMs: number): Domain {
    const known = this.domains.get(domain)
    const goesOn = known !== undefined && timeMs - known.startMs <= this.limits.windowMs
    const seen = goesOn
      ? known
      : {
          startMs: timeMs,
          names: [],
          encoded: [],
          uids: new Latest<string>(UIDS_MAX),
        }
    this.domains.delete(domain)
    this.domains.set(domain, seen)
    if (this.domains.size > DOMAINS_MAX) this.forgetSmallest(domain)
    return seen
  }

  /** The one with the fewest names: who looks up other domains in between does not hide one. */
  private forgetSmallest(current: string): void {
    let smallest: string | null = null
    for (const [domain, { names }] of this.domains) {
      const least = smallest === null ? Number.POSITIVE_INFINITY : (this.domains.get(smallest)?.names.length ?? 0)
      if (domain !== current && names.length < least) smallest = domain
    }
    if (smallest === null) return
    this.forgotten += 1
    this.domains.delete(smallest)
  }
}

/** Of the labels that look like it. */
function encodedChars(labels: string): number {
  return labels.split('.').reduce((sum, label) => (isEncoded(label) ? sum + label.length : sum), 0)
}

function isEncoded(label: string): boolean {
  if (label.length < LABEL_CHARS_MIN || entropyOf(label) < ENTROPY_MIN) return false
  // Words have vowels at their places, codes have digits among the letters.
  const parts = label.split('-').filter((part) => part.length >= 12 && !isWords(part))
  return parts.reduce((sum, part) => sum + part.length, 0) >= LABEL_CHARS_MIN
}

function isWords(part: string): boolean {
  const digits = part.replace(/\D/g, '').length
  return digits <= 2 && (part.match(WORD) ?? []).join('').length >= part.length / 3
}

function entropyOf(text: string): number {
  const counts = new Map<string, number>()
  for (const each of text) counts.set(each, (counts.get(each) ?? 0) + 1)
  return [...counts.values()].reduce((sum, count) => sum - (count / text.length) * Math.log2(count / text.length), 0)
}
