/** Compiled policies of host rules, as the engine hands them to the gateway. */
import { DnsMode, HostForm, type ICompiledPolicy, type IHostRule, Mode } from '../../src/proto/codec.js'

const FORMS: readonly [string, HostForm][] = [
  ['**.', HostForm.HOST_FORM_MORE],
  ['*.', HostForm.HOST_FORM_ONE],
  ['.', HostForm.HOST_FORM_ALL],
  ['', HostForm.HOST_FORM_EXACT],
]

export function hostPattern(text: string): { form: HostForm; base: string } {
  const [prefix, form] = FORMS.find(([each]) => text.startsWith(each)) ?? ['', HostForm.HOST_FORM_EXACT]
  return { form, base: text.slice(prefix.length) }
}

/** Rule 0 is `default`, `allow[i]` is egress[i], denials follow. `more`: of the allowed host of that index. */
export function hostPolicy(options: {
  allow: readonly string[]
  deny?: readonly string[]
  more?: Record<number, Partial<IHostRule>>
  mode?: Mode
  dns?: DnsMode
  digest?: string
}): ICompiledPolicy {
  const {
    allow,
    deny = [],
    more = {},
    mode = Mode.MODE_ENFORCE,
    dns = DnsMode.DNS_MODE_RESTRICT,
    digest = 'd1',
  } = options
  const rule = (index: number, reason: string) => ({ path: `egress[${index}]`, policy: 'test', reason })
  return {
    ...{ name: 'test', digest, mode, dns },
    rules: [
      { path: 'default', policy: 'test', reason: '' },
      ...allow.map((_, index) => rule(index, '')),
      ...deny.map((_, index) => rule(allow.length + index, 'denied by the test')),
    ],
    hosts: allow.map((text, index) => ({ rule: index + 1, host: hostPattern(text), ...more[index] })),
    denyHosts: deny.map((text, index) => ({ rule: allow.length + index + 1, host: hostPattern(text) })),
  }
}
