/**
 * The host rules of one sandbox's policy, found by name. It guards that deny beats allow, that a look-up costs as many steps as the name
 * has labels, however many rules there are, and that what the policy does not name is not allowed. Applies what the engine compiled;
 * what patterns mean is documented in policy.proto.
 */
import { HostForm, type ICompiledPolicy, type IHostPattern, type IHostRule, type IRule } from '../proto/codec.js'

export interface AllowedHost {
  readonly kind: 'allow'
  /** Every rule that names it, in the policy's order: at least one. */
  readonly rules: readonly IHostRule[]
  /** What a verdict says. */
  readonly rule: string
  readonly policy: string
}

export interface DeniedHost {
  readonly kind: 'deny'
  readonly rule: string
  readonly policy: string
  readonly reason: string
}

interface Patterned<T> {
  readonly form: HostForm
  readonly value: T
}

type Index<T> = Map<string, Patterned<T>[]>

export class HostTable {
  readonly #hosts: Index<IHostRule> = new Map()
  readonly #denied: Index<number> = new Map()
  readonly #rules: readonly IRule[]
  readonly #policyName: string

  constructor(policy: ICompiledPolicy) {
    this.#rules = policy.rules ?? []
    this.#policyName = policy.name ?? ''
    for (const host of policy.hosts ?? []) put(this.#hosts, host.host, host)
    for (const { host, rule, ports } of policy.denyHosts ?? []) {
      // One with ports is the kernel's: the name itself is answered.
      if ((ports ?? []).length === 0) put(this.#denied, host, rule ?? 0)
    }
  }

  /** `name` as DnsName.text: lower case, no final dot. */
  lookUp(name: string): AllowedHost | DeniedHost {
    const [denied] = find(this.#denied, name)
    if (denied !== undefined) return this.#deny(denied)
    const rules = find(this.#hosts, name)
    const [first] = rules
    if (first === undefined) return this.#deny(0)
    const { path, policy } = this.#rules[first.rule ?? 0] ?? {}
    return { kind: 'allow', rules, rule: path ?? 'default', policy: policy || this.#policyName }
  }

  /** Whether the name is one that is allowed, with more labels behind it: what a resolver's search list makes of it. */
  isSearchedFor(name: string): boolean {
    for (let end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1)) {
      const shorter = name.slice(0, end)
      if (!shorter.includes('.')) return false
      if (this.lookUp(shorter).kind === 'allow') return true
    }
    return false
  }

  #deny(rule: number): DeniedHost {
    const { path, policy, reason } = this.#rules[rule] ?? {}
    return {
      kind: 'deny',
      rule: path || 'default',
      policy: policy || this.#policyName,
      reason: reason || 'no rule of the policy names this host',
    }
  }
}

function put<T>(index: Index<T>, host: IHostPattern | null | undefined, value: T): void {
  const { base, form } = host ?? {}
  if (!base || !form) return
  const same = index.get(base)
  if (same === undefined) index.set(base, [{ form, value }])
  else same.push({ form, value })
}

function find<T>(index: Index<T>, name: string): T[] {
  const found: T[] = []
  let labels = 0
  for (let base = name; ; labels++) {
    for (const { form, value } of index.get(base) ?? []) if (fits(form, labels)) found.push(value)
    const dot = base.indexOf('.')
    if (dot === -1) return found
    base = base.slice(dot + 1)
  }
}

/** `labels`: of the name before the base. */
function fits(form: HostForm, labels: number): boolean {
  switch (form) {
    case HostForm.HOST_FORM_EXACT:
      return labels === 0
    case HostForm.HOST_FORM_ONE:
      return labels === 1
    case HostForm.HOST_FORM_MORE:
      return labels > 0
    case HostForm.HOST_FORM_ALL:
      return true
    default:
      return false
  }
}
