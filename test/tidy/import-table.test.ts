/** The import table: this project keeps to it, and each of its rules can fail. */
import { describe, expect, it } from 'vitest'
import { checkImportTable } from './checkers/import-table.js'
import type { SourceFile } from './checkers/source.js'
import { projectFiles, readJson } from './project-files.js'

const DEPENDENCIES = ['zod', 'yaml', 'pino', 'protobufjs', '@grpc/grpc-js', 'execa', 'commander']

/** Problems of one file in a project where every file that it could want exists. */
function check(path: string, text: string): string[] {
  const others = ['base/error', 'proto/codec', 'native/addon', 'engine/ingest', 'engine/session', 'engine/policy/rule']
    .concat(['sensor/uplink', 'sensor/main', 'supervise/role', 'cli/exit-code', 'sinks/file'])
    .map((name): SourceFile => ({ path: `src/${name}.ts`, text: '' }))
    .filter((file) => file.path !== path)
  return checkImportTable([...others, { path, text }], DEPENDENCIES)
}

describe('the import table', () => {
  it('is kept by src/', () => {
    const { dependencies } = readJson<{ dependencies: Record<string, string> }>('package.json')
    expect(checkImportTable(projectFiles(/^src\/.*\.ts$/), Object.keys(dependencies))).toEqual([])
  })

  const ALLOWED: [path: string, text: string][] = [
    ['src/base/log.ts', `import pino from 'pino'\nimport { hostname } from 'node:os'`],
    ['src/base/yaml-file.ts', `import { parse } from 'yaml'\nimport type { z } from 'zod'`],
    ['src/proto/codec.ts', `import protobuf from 'protobufjs/minimal.js'\nexport * from './generated/codec.js'`],
    ['src/proto/rpc.ts', `import { Server } from '@grpc/grpc-js'\nimport './codec.js'`],
    ['src/native/load.ts', `import { createRequire } from 'node:module'\nimport '../base/error.js'`],
    ['src/sensor/spool.ts', `import '../native/addon.js'\nimport '../proto/codec.js'\nimport { z } from 'zod'`],
    ['src/engine/pipeline.ts', `import './session.js'\nimport './policy/rule.js'`],
    ['src/engine/detect/loop.ts', `import type { Session } from '../session.js'`],
    ['src/cli/run/run.ts', `import { execa } from 'execa'\nimport '../../supervise/role.js'\nimport '../exit-code.js'`],
    ['src/engine/main.ts', `import '../native/addon.js'\nimport '../sinks/file.js'\nimport './policy/rule.js'`],
    ['src/gateway/main.ts', `import '../native/addon.js'\nimport '../proto/codec.js'\nimport { z } from 'zod'`],
    ['src/sensor/sweep-main.ts', `import './uplink.js'\nimport '../native/addon.js'`],
  ]
  it.each(ALLOWED)('allows in %s: %s', (path, text) => {
    expect(check(path, text)).toEqual([])
  })

  const REFUSED: [path: string, text: string, message: string][] = [
    ['src/base/clock.ts', `import '../proto/codec.js'`, 'base may import nothing else of src/, not proto'],
    ['src/base/clock.ts', `import pino from 'pino'`, 'only base/log.ts may import pino'],
    ['src/base/clock.ts', `import { z } from 'zod'`, 'base may import no package'],
    ['src/cli/config.ts', `import { parse } from 'yaml'`, 'only base/yaml-file.ts may import yaml'],
    ['src/proto/text.ts', `import protobuf from 'protobufjs'`, 'only proto/codec.ts may import protobufjs'],
    ['src/proto/text.ts', `import './generated/codec.js'`, 'only src/proto/codec.ts imports the generated codec'],
    [
      'src/proto/text.ts',
      `export * from '@grpc/grpc-js'`,
      'only proto/rpc.ts, proto/control-rpc.ts, proto/gateway-rpc.ts, proto/rpc-status.ts, sinks/otlp/otlp-grpc.ts may',
    ],
    ['src/sensor/spool.ts', `import { createRequire } from 'node:module'`, 'only src/native/ loads the addon'],
    ['src/sensor/spool.ts', `process.dlopen({ exports: {} }, 'x')`, 'only src/native/ loads the addon'],
    ['src/sensor/spool.ts', `const path = '../build/sluice.node'`, 'only src/native/ loads the addon'],
    ['src/sensor/spool.ts', `import { execa } from 'execa'`, 'only supervise/, cli/ may import execa'],
    ['src/cli/run.ts', `import { spawn } from 'child_process'`, 'child processes are execa’s job'],
    [
      'src/cli/run.ts',
      `import '../sensor/uplink.js'`,
      'cli may import base, proto, schema, supervise, supervise/agent-host, not sensor',
    ],
    ['src/engine/ingest.ts', `import type { Addon } from '../native/addon.js'`, 'not native'],
    ['src/engine/ingest.ts', `const lazy = await import('../native/addon.js')`, 'not native'],
    ['src/engine/ingest.ts', `type A = import('../native/addon.js').Addon`, 'not native'],
    ['src/engine/ingest.ts', `import '../sensor/main.js'`, 'a main is started, never imported'],
    [
      'src/gateway/lease.ts',
      `import '../engine/policy/rule.js'`,
      'gateway may import base, proto, native, not engine/policy',
    ],
    ['src/gateway/lease.ts', `import '../sensor/uplink.js'`, 'not sensor'],
    ['src/engine/policy/rule.ts', `import '../session.js'`, 'engine/policy may import base, proto, not engine/session'],
    ['src/engine/detect/loop.ts', `import { Session } from '../session.js'`, 'only types of engine/session'],
    ['src/engine/detect/loop.ts', `import { type Session } from '../session.js'`, 'only types of engine/session'],
    ['src/engine/detect/loop.ts', `import { readFileSync } from 'node:fs'`, 'no clock and no I/O'],
    ['src/engine/main.ts', `import '../sensor/uplink.js'`, 'not sensor'],
    ['src/engine/main.ts', `import '../../test/support/x.js'`, 'it is outside src/'],
    ['src/cli/show.ts', `import chalk from 'chalk'`, 'chalk is not among the dependencies'],
    ['src/helpers.ts', '', 'belongs to no part of the import table'],
    ['src/helpers/list.ts', '', 'belongs to no part of the import table'],
  ]
  it.each(REFUSED)('refuses in %s: %s', (path, text, message) => {
    const problems = check(path, text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(path)
    expect(problems[0]).toContain(message)
  })
})
