/** How far the sinks are, in a file that is lost under them: the engine must still keep what one of them lacks. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { TakenBySinks } from '../../../src/engine/spool/taken-by-sinks.js'
import { CURSORS_FILE } from '../../../src/proto/spool/spool-form.js'
import { Cursors } from '../../../src/sinks/cursors.js'
import { withTempDir } from '../../support/sluice-run.js'

const SPOOL = 'a-spool'
const LOSSES: Readonly<Record<string, (path: string) => void>> = {
  'is removed': (path) => rmSync(path),
  'is put in the place of another': (path) => {
    rmSync(path)
    writeFileSync(path, 'no database')
  },
}

describe('the places of two sinks, of which one has had nothing yet', () => {
  for (const [what, lose] of Object.entries(LOSSES)) {
    it(`are both there again when their file ${what}`, async () => {
      await withTempDir(async (folder) => {
        const cursors = new Cursors(folder, ['ahead', 'behind'], createLog({ role: 'test', level: 'silent' }))
        const taken = new TakenBySinks(folder)
        cursors.save('ahead', { spoolId: SPOOL, position: 7 })
        expect(taken.upTo(SPOOL)).toBe(0)
        lose(join(folder, CURSORS_FILE))
        cursors.save('ahead', { spoolId: SPOOL, position: 9 })
        expect(taken.upTo(SPOOL)).toBe(0)
        cursors.save('behind', { spoolId: SPOOL, position: 8 })
        expect(taken.upTo(SPOOL)).toBe(8)
        taken.close()
        cursors.close()
      })
    })
  }
})
