/** docs/KERNELS.md says of each program that the sensor attaches where it sits and what is lost without it, and of no other. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { ATTACH_PLAN, OPTIONAL_PLAN, UNIX_PLAN } from '../../../src/sensor/attach-plan.js'

const PAGE = new URL('../../../docs/KERNELS.md', import.meta.url)

it('the page of the kernels has one row a program of the attach plan, word for word', () => {
  const rows = readFileSync(PAGE, 'utf8')
    .split('\n')
    .filter((line) => /^\| `[a-z_]+\/\w+` \|/.test(line))
  const planned = [...ATTACH_PLAN, ...OPTIONAL_PLAN.flat(), ...UNIX_PLAN].map(
    ({ hook, program, at, lost }) => `| \`${hook}\` | \`${program}\` | ${at} | ${lost} |`,
  )
  expect(rows).toEqual(planned)
})
