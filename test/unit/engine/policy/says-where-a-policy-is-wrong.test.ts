/** Bad policies, each with the exact words and the place of what is wrong. */
import { describe, expect, it } from 'vitest'
import { ENFORCE, findings, MONITOR } from './policies.js'

type Case = [text: string, ...messages: string[]]

const SHAPE: Case[] = [
  [
    '',
    'p.yaml:1:1: error: version: is missing',
    'p.yaml:1:1: error: name: is missing',
    'p.yaml:1:1: error: mode: is missing',
  ],
  [
    'version: 2\nname: p\nmode: enforc\n',
    'p.yaml:1:1: error: version: the version of this format is 1',
    `p.yaml:3:1: error: mode: invalid option: expected one of "monitor"|"enforce"; did you mean 'enforce'?`,
  ],
  ['- a\n', 'p.yaml:1:1: error: the file: invalid input: expected object, received array'],
  [`${ENFORCE}mode: monitor\n`, 'p.yaml:4:1: error: Map keys must be unique'],
  [`${ENFORCE}egres: []\n`, "p.yaml:4:1: error: unknown key 'egres'; did you mean 'egress'?"],
  [`${ENFORCE}dns: {mod: restrict}\n`, "p.yaml:4:7: error: unknown key 'dns.mod'; did you mean 'mode'?"],
  [
    'version: 1\nname: My Policy\nmode: enforce\n',
    'p.yaml:2:1: error: name: a name has lower-case letters, digits and hyphens, at most 64',
  ],
  [`${ENFORCE}egress: {host: a.com}\n`, 'p.yaml:4:1: error: egress: invalid input: expected array, received object'],
  [`${ENFORCE}egress: [a.com]\n`, 'p.yaml:4:10: error: egress[0]: write a rule as host: …, cidr: … or deny: …'],
  [`${ENFORCE}egress:\n  - hots: a.com\n`, "p.yaml:5:5: error: unknown key 'egress[0].hots'; did you mean 'host'?"],
  [`${ENFORCE}egress:\n  - ports: [1]\n`, 'p.yaml:5:5: error: egress[0]: one of host, cidr, deny is missing'],
  [
    `${ENFORCE}egress:\n  - cidr: 10.0.0.0/8\n    tls: inspect\n`,
    'p.yaml:6:5: error: egress[0].tls: does not go with cidr, ports, protocol, binary, reason',
  ],
  [
    `${ENFORCE}egress:\n  - deny: a.com\n`,
    'p.yaml:5:5: error: egress[0].deny: write deny: {host: …} or deny: {cidr: …}',
  ],
  [
    `${ENFORCE}egress:\n  - deny: {host: a.com, cidr: 10.0.0.0/8}\n`,
    'p.yaml:5:25: error: egress[0].deny.cidr: does not go with host, ports',
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    ports: [443, 0, x]\n  - host: b.com\n    ports: [9-1]\n`,
    'p.yaml:6:18: error: egress[0].ports[1]: ports are 1 to 65535, a range is written 8000-8100',
    'p.yaml:6:21: error: egress[0].ports[2]: ports are 1 to 65535, a range is written 8000-8100',
    'p.yaml:8:13: error: egress[1].ports[0]: ports are 1 to 65535, a range is written 8000-8100',
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    ports: [1, 3, 5, 7, 9, 11, 13, 15, 17]\n`,
    'p.yaml:6:5: error: egress[0].ports: at most 8 ports or ranges; make two rules of it',
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    binary: [git]\n`,
    'p.yaml:6:14: error: egress[0].binary[0]: "git": a binary is a path that begins with /, or sha256: and 64 hexadecimal digits',
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    binary: [${'ab'.repeat(32)}]\n`,
    `p.yaml:6:14: error: egress[0].binary[0]: "${'ab'.repeat(32)}": a binary is a path that begins with /, or sha256: and 64 hexadecimal digits; write sha256:${'ab'.repeat(32)}`,
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    protocol: icmp\n`,
    `p.yaml:6:5: error: egress[0].protocol: invalid option: expected one of "tcp"|"udp"|"opaque"; did you mean 'tcp'?`,
  ],
  [
    `${ENFORCE}bundles: [nod]\n`,
    `p.yaml:4:11: error: bundles[0]: invalid option: expected one of "github"|"gitlab"|"claude"|"openai"|"gemini"|"node"|"python"|"debian"|"rust"|"go"; did you mean 'node'?`,
  ],
  [`${MONITOR}detect: {lop: {repeats: 5}}\n`, "p.yaml:4:10: error: unknown key 'detect.lop'; did you mean 'loop'?"],
  [
    `${MONITOR}limits: {connects: {rate: 20}, memory: 4}\n`,
    'p.yaml:4:21: error: limits.connects.rate: write a rate as 20/s or 60/min',
    'p.yaml:4:32: error: limits.memory: write a size as 512MiB or 4GiB',
  ],
  [
    `${MONITOR}credentials: [{name: a, from: {env: KEY}}]\n`,
    'p.yaml:4:15: error: credentials[0]: a credential is a name here; it is defined in the configuration of the node',
  ],
  [
    `${MONITOR}files: {write: [build]}\n`,
    'p.yaml:4:17: error: files.write[0]: a path begins with /, ~/, $WORKDIR, $HOME or **/',
  ],
  [
    `${ENFORCE}local: {unix: [/run/../x]}\n`,
    'p.yaml:4:16: error: local.unix[0]: a path begins with / and has no . or .. in it; an abstract name begins with @',
  ],
  [`${ENFORCE}floor: yes\n`, 'p.yaml:4:1: error: floor: invalid input: expected boolean, received string'],
]

const VALUES: Case[] = [
  [
    `${ENFORCE}egress:\n  - host: "*"\n  - host: "**"\n  - host: "*.com"\n  - host: .co.uk\n`,
    'p.yaml:5:5: error: egress[0].host: "*": it would allow every host; name the hosts, or a bundle',
    'p.yaml:6:5: error: egress[1].host: "**": it would allow every host; name the hosts, or a bundle',
    'p.yaml:7:5: error: egress[2].host: "*.com": it would allow every domain under com; name the domain',
    'p.yaml:8:5: error: egress[3].host: ".co.uk": it would allow every domain under co.uk; name the domain',
  ],
  [
    `${ENFORCE}egress:\n  - host: 10.0.0.1\n  - host: "[::1]:443"\n`,
    'p.yaml:5:5: error: egress[0].host: "10.0.0.1": an address is no host; write cidr: 10.0.0.1/32',
    'p.yaml:6:5: error: egress[1].host: "[::1]:443": an address is no host; write cidr: ::1/128',
  ],
  [
    `${ENFORCE}egress:\n  - host: https://a.com/x\n  - host: a.com:8443\n`,
    'p.yaml:5:5: error: egress[0].host: "https://a.com/x": a host has no scheme and no path; write a.com',
    'p.yaml:6:5: error: egress[1].host: "a.com:8443": a host has no port; write host: a.com with ports: [8443]',
  ],
  [
    `${ENFORCE}egress:\n  - cidr: 10.1.2.3/8\n  - cidr: 10.1.2.3\n  - cidr: ::ffff:1.2.3.4/128\n  - cidr: 010.0.0.0/8\n`,
    'p.yaml:5:5: error: egress[0].cidr: "10.1.2.3/8": it has bits beyond its length; write 10.0.0.0/8',
    'p.yaml:6:5: error: egress[1].cidr: "10.1.2.3": a range has a length; write 10.1.2.3/32',
    'p.yaml:7:5: error: egress[2].cidr: "::ffff:1.2.3.4/128": it is IPv4 in the form of IPv6; write 1.2.3.4/32',
    'p.yaml:8:5: error: egress[3].cidr: "010.0.0.0/8": it is no range of addresses; write 10.1.0.0/16 or 2001:db8::/32',
  ],
  [
    `${ENFORCE}egress:\n  - host: "*.github.io"\n  - host: "**.amazonaws.com"\n  - host: gıthub.com\n`,
    'p.yaml:5:5: warning: egress[0].host: anybody can have a name under github.io',
    'p.yaml:6:5: warning: egress[1].host: anybody can have a name under amazonaws.com',
    'p.yaml:7:5: warning: egress[2].host: "gıthub.com" is xn--gthub-n4a.com',
  ],
]

const TOGETHER: Case[] = [
  [
    `${ENFORCE}wire: observe\n`,
    'p.yaml:4:1: error: wire: observe never refuses, and mode: enforce does; leave it out, or write mode: monitor',
  ],
  [
    `${MONITOR}wire: enforce\n`,
    'p.yaml:4:1: error: wire: enforce refuses, and mode: monitor never does; write wire: observe, or mode: enforce',
  ],
  [
    `${ENFORCE}wire: "off"\negress: [{host: a.com}]\n`,
    'p.yaml:4:1: error: wire: rules with a host need the gateway to answer names; leave it out, or allow by cidr',
  ],
  [
    `${ENFORCE}dns: {mode: "off"}\nbundles: [claude]\n`,
    'p.yaml:4:7: error: dns.mode: rules with a host open nothing unless names are answered; write restrict, or allow by cidr',
  ],
  [
    `${ENFORCE}dns: {mode: observe}\n`,
    'p.yaml:4:7: warning: dns.mode: every name is asked for, so data can leave in names; restrict answers only those that rules allow',
  ],
  [
    `${ENFORCE}egress:\n  - host: a.com\n    protocol: udp\n  - cidr: 10.0.0.0/8\n    protocol: icmp\n    ports: [1]\n`,
    'p.yaml:6:5: error: egress[0].protocol: there is no usual port of udp; name them: ports: [53]',
    'p.yaml:9:5: error: egress[1].ports: icmp has no ports; leave them out',
  ],
  [
    `${MONITOR}egress:\n  - host: a.com\n    http: [{path: /x}]\n    direct: true\n`,
    'p.yaml:6:5: warning: egress[0].http: not in this version: requests are not read yet; events will not say what it would have done',
    "p.yaml:7:5: error: egress[0].direct: the gateway sees no connection, so http can't be; leave one out",
  ],
  [
    `${ENFORCE}egress:\n  - cidr: 127.0.0.0/8\n`,
    'p.yaml:5:5: error: egress[0].cidr: loopback is not egress; local: {listeners: …} is about it',
  ],
  [
    `${ENFORCE}egress:\n  - cidr: 0.0.0.0/0\n  - cidr: 169.254.169.254/32\n    ports: [80]\n`,
    'p.yaml:5:5: warning: egress[0].cidr: 0.0.0.0/0 is a great part of the internet; a host rule names who is meant',
    "p.yaml:6:5: warning: egress[1].cidr: the cloud's metadata service gives out this machine's own credentials",
  ],
  [
    `${ENFORCE}egress:\n  - cidr: 203.0.113.0/24\n  - deny: {host: "**.pastebin.com"}\n`,
    "p.yaml:6:5: error: egress[1]: **.pastebin.com can't be kept from who knows its address: egress[0] opens 203.0.113.0/24; narrow that, or deny the addresses by cidr",
  ],
  [
    `${MONITOR}egress:\n  - cidr: 203.0.113.0/24\n  - deny: {host: "**.pastebin.com"}\n`,
    "p.yaml:6:5: warning: egress[1]: **.pastebin.com can't be kept from who knows its address: egress[0] opens 203.0.113.0/24; narrow that, or deny the addresses by cidr",
  ],
  [
    `${ENFORCE}egress:\n  - host: api.a.com\n  - deny: {host: .a.com}\n`,
    'p.yaml:5:5: warning: egress[0]: it allows nothing, egress[1] denies all of it',
  ],
  [
    `${ENFORCE}egress:\n  - {host: .a.com, ports: [80, 443]}\n  - deny: {host: x.a.com, ports: [80]}\n`,
    "p.yaml:6:5: error: egress[1]: some ports of some names of egress[0] can't be denied; deny those names with all ports, or allow them by a rule of their own",
  ],
  [
    `${MONITOR}egress:\n  - {host: .b.a.com, ports: [80]}\n  - deny: {host: "*.a.com", ports: [80]}\n`,
    "p.yaml:6:5: warning: egress[1]: some ports of some names of egress[0] can't be denied; deny those names with all ports, or allow them by a rule of their own",
  ],
  [
    `${MONITOR}local:\n  unix: [/run/app.sock, /var/run/docker.sock, /run/user/1000/bus]\n`,
    'p.yaml:5:25: error: local.unix[1]: a container engine does work for others outside of the sandbox; allow_brokers: true allows it',
    'p.yaml:5:47: error: local.unix[2]: D-Bus does work for others outside of the sandbox; allow_brokers: true allows it',
  ],
  [
    `${ENFORCE}egress:\n  - cidr: 10.0.0.0/8\n    ports: [1, 3, 5, 7, 9]\n  - cidr: 10.1.0.0/16\n    ports: [11, 13, 15, 17]\n`,
    'p.yaml:4:1: error: 10.1.0.0/16 comes to 9 ranges of ports (egress[0], egress[1]); at most 8',
  ],
  [
    `${ENFORCE}bundles: [go]\n`,
    'p.yaml:4:11: error: bundles[0]: the tools of go are told no host on this machine (in $GOPROXY, ~/.config/go/env, /usr/local/go/go.env, /usr/lib/go/go.env or 6 other places); leave the bundle out and name theirs: egress: [{host: …}]',
  ],
]

describe('a policy', () => {
  it.each([...SHAPE, ...VALUES, ...TOGETHER])('is told what is wrong with it: %j', (text, ...messages) => {
    expect(findings(text)).toEqual(messages)
  })

  it.each([
    `${ENFORCE}egress:\n  - cidr: 10.1.0.0/16\n    ports: [5432]\n  - deny: {host: "**.pastebin.com"}\n`,
    `${ENFORCE}egress:\n  - cidr: 203.0.113.0/24\n    ports: [22]\n  - deny: {host: pastebin.com, ports: [443]}\n`,
    `${ENFORCE}egress:\n  - {host: .a.com, ports: [80, 443]}\n  - deny: {host: "**.com", ports: [80]}\n  - deny: {host: x.a.com}\n`,
    `${ENFORCE}egress:\n  - {host: .a.com, ports: [443]}\n  - deny: {host: x.a.com, ports: [80]}\n`,
    `${ENFORCE}egress: [{deny: {host: "*.com"}}, {deny: {host: "**.io"}}]\n`,
  ])('is fine: %j', (text) => {
    expect(findings(text)).toEqual([])
  })
})

describe('what this version can not enforce', () => {
  const KEYS: [key: string, text: string][] = [
    ['select.pod', 'select: {pod: x}'],
    ['select.namespace', 'select: {namespace: x}'],
    ['files', 'files: {write: [/tmp]}'],
    ['exec', 'exec: {deny: [{path: /usr/bin/nc}]}'],
    ['credentials', 'credentials: [anthropic]'],
    ['limits.requests', 'limits: {requests: {rate: 20/s, burst: 60}}'],
    ['respond.loop[1]', 'respond: {loop: [alert, suspend]}'],
    ['redact', 'redact: {args: ["x=(.+)"]}'],
    ['unresolved', 'unresolved: allow'],
    ['egress[0].http', 'egress: [{host: a.com, http: [{method: [GET], path: "/repos/**"}]}]'],
    ['egress[0].ca', 'egress: [{host: a.com, ca: /etc/ca.pem}]'],
    ['egress[0].identity', 'egress: [{host: a.com, identity: mtls}]'],
    ['egress[0].tls', 'egress: [{host: a.com, tls: inspect}]'],
  ]
  it.each(KEYS)('is refused by name in enforce mode, and told in monitor mode: %s', (key, text) => {
    const refused = findings(`${ENFORCE}${text}\n`)
    expect(refused).toEqual([expect.stringMatching(/^p\.yaml:4:\d+: error: /)])
    expect(refused[0]).toMatch(new RegExp(` ${key.replace(/[[\]]/g, '\\$&')}: not in this version: [^;]+; .+`))
    expect(findings(`${MONITOR}${text}\n`)).toEqual([
      expect.stringContaining(` warning: ${key}: not in this version: `),
    ])
  })
})
