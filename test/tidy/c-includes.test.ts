/** Includes of bpf/ and native/: this project keeps to the table, and each rule can fail. */
import { describe, expect, it } from 'vitest'
import { checkIncludes } from './checkers/c-includes.js'
import { projectFiles } from './project-files.js'

const maps = {
  path: 'bpf/maps.bpf.h',
  text: '#include "map_abi.h"\n#include <bpf/bpf_helpers.h>\n#include "vmlinux_min.h"',
}
const abi = { path: 'bpf/map_abi.h', text: '' }

describe('C includes', () => {
  it('keep to the table in bpf/ and native/', () => {
    const files = projectFiles(/^(bpf|native)\/.*\.(c|h|cc)$/)
    expect(files.length).toBeGreaterThan(0)
    expect(checkIncludes(files)).toEqual([])
  })

  it.each([
    ['bpf/core.bpf.c', '#include "process.bpf.c"'],
    ['native/maps.cc', '#include "map_abi.h"\n#include <bpf/libbpf.h>\n#include <vector>'],
    ['native/maps.cc', '#include "../bpf/map_abi.h"'],
  ])('allows in %s: %s', (path, text) => {
    expect(checkIncludes([maps, abi, { path, text }])).toEqual([])
  })

  it.each([
    ['bpf/process.bpf.c', '#include "file.bpf.c"'],
    ['bpf/process.bpf.c', '#include <stdio.h>'],
    ['bpf/path.bpf.h', '  #  include "../native/launch.h"'],
    ['native/maps.cc', '#include "maps.bpf.h"'],
    ['native/maps.cc', '#include "../bpf/maps.bpf.h"'],
  ])('refuses in %s: %s', (path, text) => {
    const problems = checkIncludes([maps, abi, { path, text }])
    expect(problems).toEqual([expect.stringContaining(`${path}:1: includes `)])
  })
})
