import { describe, expect, it } from 'vitest'
import { cgroupPath } from '../../../../src/cli/sandboxes/cgroup-path.js'

const mount = (path: string, fsType: string, root = '/') => ({ path, fsType, root, options: [] })
const root = mount('/', 'ext4')
const pure = [root, mount('/sys/fs/cgroup', 'cgroup2')]
const hybrid = [
  ...[root, mount('/sys/fs/cgroup', 'tmpfs'), mount('/sys/fs/cgroup/memory', 'cgroup')],
  mount('/sys/fs/cgroup/unified', 'cgroup2'),
]

describe('a cgroup', () => {
  it.each([
    ['/system.slice/x.scope', pure, '/system.slice/x.scope'],
    ['system.slice/x.scope', pure, '/system.slice/x.scope'],
    ['/sys/fs/cgroup/system.slice/x.scope/', pure, '/system.slice/x.scope'],
    ['/sys/fs/cgroup/a/../b', pure, '/b'],
    ['/sys/fs/cgroup', pure, '/'],
    ['/sys/fs/cgroup/unified/a', hybrid, '/a'],
    ['/sys/fs/cgroup/unified/a', hybrid.toReversed(), '/a'],
    ['/sys/fs/cgroup/unifiedly', hybrid, '/sys/fs/cgroup/unifiedly'],
    ['/mnt/x', [...pure, mount('/mnt', 'cgroup2', '/pods')], '/pods/x'],
  ])('%s', (given, mounts, path) => {
    expect(cgroupPath(given, mounts)).toBe(path)
  })

  it('of version 1 is refused, with the way to its place in version 2', () => {
    expect(() => cgroupPath('/sys/fs/cgroup/memory/a', hybrid)).toThrow(
      expect.objectContaining({
        code: 'USAGE',
        message: "/sys/fs/cgroup/memory/a is a version 1 cgroup, and those can't be watched",
        hint: 'name its place in version 2, below /sys/fs/cgroup/unified: /proc/PID/cgroup has it behind 0::',
      }),
    )
  })
})
