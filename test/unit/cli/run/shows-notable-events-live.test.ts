import { describe, expect, it } from 'vitest'
import { isShownLive } from '../../../../src/cli/run/live-view.js'
import { Access } from '../../../../src/proto/codec.js'
import { kinds, sample } from '../sample-events.js'

describe('the live view', () => {
  it('shows programs, failed ends, connections, writes, moves and gaps', () => {
    const shown = (Object.keys(kinds) as (keyof typeof kinds)[]).filter((kind) => isShownLive(sample(kind), 'notable'))
    expect(shown).toEqual([
      ...[
        'exec',
        'sends',
        'unix',
        'packet',
        'listen',
        'exit',
        'killed',
        'write',
        'connect',
        'denied',
        'stdin',
        'unshown',
        'cgroup',
        'quarantine',
        'detection',
        'gap',
      ],
    ])
  })

  it('leaves out good ends and writes to devices, unless all is asked for', () => {
    const quiet = [
      sample('exit', { exit: { code: 0 } }),
      sample('write', { fileOpen: { path: Buffer.from('/dev/null'), access: Access.ACCESS_WRITE } }),
      sample('read'),
      sample('socket'),
      sample('closed'),
    ]
    expect(quiet.map((event) => isShownLive(event, 'notable'))).toEqual([false, false, false, false, false])
    expect(quiet.map((event) => isShownLive(event, 'all'))).toEqual([true, true, true, true, true])
  })
})
