/** A secret on a command line is nowhere in the record; what is none stays as it was. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { execs } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const SECRETS = [
  'hunter2-first',
  'hunter2-second',
  'hunter2-third',
  'hunter2-fourth',
  'hunter2-fifth',
  'hunter2-sixth',
  'ghp_012345678901234567890123456789012345',
]

describe.skipIf(skip)(`a record ${reason}`, () => {
  test('has no secret of a command line, and all the rest of it', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const [flag, variable, url, header, attached, user, token] = SECRETS
      const script = [
        `/bin/true --password ${flag} --user me`,
        `PGPASSWORD=${variable} /bin/true`,
        `env API_TOKEN=${variable} /bin/true kept-word`,
        `/bin/true https://me:${url}@example.invalid/path`,
        `/bin/true -H "Authorization: Bearer ${header}"`,
        `ln -s /bin/true ${dir}/mysql; ln -s /bin/true ${dir}/curl`,
        `${dir}/mysql -uroot -p${attached} -P 3306`,
        `${dir}/curl -sSu "me:${user}" -H x-api-key:${user} -p`,
        `/bin/true ${token}`,
        '/bin/true --password-file /etc/hostname --max-tokens 4096',
      ].join('; ')
      const args = ['run', '--summary', 'json', '--events', 'all', '--record', record, '--', 'sh', '-c', script]
      const result = await execa(SLUICE_BIN, args, { reject: false, stdin: 'ignore' })
      expect(result.exitCode).toBe(0)
      const text = readFileSync(record, 'utf8')
      for (const secret of SECRETS) {
        expect(text).not.toContain(secret)
        expect(result.stderr).not.toContain(secret)
      }
      expect(text).toMatch(/\[redacted:[0-9a-f]{8}\]/)
      const all = execs(readRecord(record)).map((event) => event.process.args.join(' '))
      expect(all).toContain('/bin/true --password-file /etc/hostname --max-tokens 4096')
      expect(all).toContain('/bin/true kept-word')
      expect(all.some((args) => /mysql -uroot -p\[redacted:\w{8}\] -P 3306$/.test(args))).toBe(true)
      expect(all.some((args) => /curl -sSu me:(\[.{17}\]) -H x-api-key:\1 -p$/.test(args))).toBe(true)
      expect(all.some((args) => /^\/bin\/true --password \[redacted:\w{8}\] --user me$/.test(args))).toBe(true)
      expect(all.some((args) => /^\/bin\/true https:\/\/me:\[redacted:\w{8}\]@example.invalid\/path$/.test(args))).toBe(
        true,
      )
    })
  })
})
