/** What a session came to: the same names for the same deeds, other names for others, and nothing is called reached or changed that was not. */
import { describe, expect, it } from 'vitest'
import { normalHost, normalPath } from '../../../../src/cli/sessions/normal-names.js'
import { SessionDigest } from '../../../../src/cli/sessions/session-digest.js'
import { fromBigInt } from '../../../../src/proto/codec.js'
import { eventToJson } from '../../../../src/proto/event-json.js'

describe('a name', () => {
  it.each([
    ['/home/a/project/src/x.ts', '$WORKDIR/src/x.ts'],
    ['/home/a/project', '$WORKDIR'],
    ['/home/a/project2/x', '/home/a/project2/x'],
    ['/tmp/tmp.aB3dE9xQ/out.log', '/tmp/tmp*/out.log'],
    ['/tmp/build.log', '/tmp/build.log'],
    ['/proc/4711/task/4712/environ', '/proc/*/task/*/environ'],
    ['/proc/self/environ', '/proc/self/environ'],
    ['/var/lib/5f0c2f6e-9c1e-4c0e-9f43-0123456789ab/x', '/var/lib/*/x'],
    ['/cache/0123456789abcdef0123', '/cache/*'],
    ['/etc/ssl/certs', '/etc/ssl/certs'],
  ])('of a path: %s is %s', (path, normal) => {
    expect(normalPath(path, '/home/a/project')).toBe(normal)
  })

  it.each([
    [{ protocol: 'TCP', address: '192.0.2.1', port: 443, hostname: 'API.example.com.' }, 'tcp api.example.com:443'],
    [{ protocol: 'TCP', address: '192.0.2.1', port: 443, hostname: '' }, 'tcp 192.0.2.1:443'],
    [{ protocol: 'TCP', address: '127.0.0.1', port: 45_871, hostname: '' }, 'tcp 127.0.0.1:*'],
    [{ protocol: 'TCP', address: '127.0.0.1', port: 8080, hostname: '' }, 'tcp 127.0.0.1:8080'],
    [{ protocol: 'UDP', address: '2001:db8::1', port: 40_000, hostname: '' }, 'udp [2001:db8::1]:40000'],
    [{ protocol: 'UNIX', address: '/run/docker.sock', port: 0, hostname: '' }, 'unix /run/docker.sock'],
  ])('of a host: %o', (to, normal) => {
    expect(normalHost(to)).toBe(normal)
  })
})

describe('what a session came to', () => {
  const digestOf = (...kinds: object[]) => {
    const digest = new SessionDigest()
    for (const kind of kinds) digest.add(eventToJson({ uid: 'u', node: {}, sandbox: {}, sessionId: 's', ...kind }))
    return digest
  }
  const path = Buffer.from('/w/x')
  const to = { protocol: 1, address: '192.0.2.1', port: 443, via: 1 }

  it('counts as changed only what was opened to be written, or changed, and let through', () => {
    const digest = digestOf(
      { fileOpen: { path, access: 1, verdict: { decision: 1 } } },
      { fileOpen: { path, access: 2, errno: 13, verdict: { decision: 1 } } },
      { fileOpen: { path, access: 2, verdict: { decision: 2, rule: 'files.write' } } },
    )
    expect(digest.aspects.filesChanged.sorted).toEqual([])
    expect(digest.aspects.denials.sorted).toEqual([['fileOpen /w/x (files.write)', 1]])
    const changed = digestOf(
      { fileOpen: { path, access: 3, count: fromBigInt(4n), verdict: { decision: 3, rule: 'files.write' } } },
      { fileChange: { op: 1, path: Buffer.from('/a'), newPath: Buffer.from('/b') } },
      { fileChange: { op: 3, path: Buffer.from('/old'), newPath: Buffer.from('/link') } },
      { fileChange: { op: 2, path: Buffer.from('/kept'), errno: 1 } },
    )
    expect(changed.aspects.filesChanged.sorted).toEqual([
      ['/w/x', 4],
      ['/a', 1],
      ['/b', 1],
      ['/link', 1],
    ])
    expect(changed.aspects.denials.sorted).toEqual([['would be denied: fileOpen /w/x (files.write)', 4]])
  })

  it('counts as reached only what was not refused, failed, or a socket without another end', () => {
    const digest = digestOf(
      { connect: { ...to, count: fromBigInt(3n) } },
      { connect: { ...to, port: 80, errno: 115 } },
      { connect: { ...to, port: 81, errno: 111 } },
      { connect: { ...to, port: 82, errno: 1, verdict: { decision: 2, rule: 'default' } } },
      { connect: { protocol: 4, via: 3 } },
      { connect: { protocol: 4, via: 3, verdict: { decision: 2, rule: 'default' } } },
    )
    expect(digest.aspects.hostsReached.sorted).toEqual([
      ['tcp 192.0.2.1:443', 3],
      ['tcp 192.0.2.1:80', 1],
    ])
    expect(digest.aspects.denials.sorted).toEqual([
      ['connect RAW socket (default)', 1],
      ['connect tcp 192.0.2.1:82 (default)', 1],
    ])
  })
})
