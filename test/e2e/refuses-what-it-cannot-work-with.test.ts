/**
 * What is missing on a machine is said in one line that names it and the next step, with the exit code of a failure of ours, and the
 * command is not run. The conditions are real: namespaces with other mounts, capabilities dropped, a seccomp filter.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'
import { compileC } from '../support/c-program.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CGROUP = cgroupMount() ?? ''
const RELEASE = join(ROOT, 'build/Release')
const DEADLINE_MS = 30_000
const BTF = '/sys/kernel/btf/vmlinux'
const FIT = "so programs can't be fitted to this kernel"
const ENABLE_BTF = 'use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of distributions are since 2021'
const OWN_BTF = `${ENABLE_BTF}; in a container, give it the host's /sys`
const REFUSED = 'the kernel refused our programs'
const WRITE_THERE = 'root must be able to write there; `mount` and `df -i` tell more'
const ONLY_ROOT = 'must be a directory that only root may write to'

async function call(command: readonly string[]): Promise<{ exitCode: number | undefined; said: string }> {
  const [file = '', ...args] = command
  const { exitCode, all } = await execa(file, args, { reject: false, all: true, stdin: 'ignore', timeout: DEADLINE_MS })
  return { exitCode, said: all }
}

/** Runs `touch FILE` watched, by way of `wrapper`; tells whether the file is there. */
async function runBy(wrapper: readonly string[], made: string) {
  const ended = await call([...wrapper, SLUICE_BIN, 'run', '--quiet', '--', 'touch', made])
  return { ...ended, ran: existsSync(made) }
}

/** In a mount namespace of its own, after `script`. */
const mounted = (script: string) => ['unshare', '-m', 'sh', '-ec', `${script}\nexec "$@"`, 'sh']
const without = (...capabilities: string[]) => [
  ...['setpriv', '--bounding-set', capabilities.map((name) => `-${name}`).join(',')],
]

describe.skipIf(skip)(`run refuses, in one line, ${reason}`, () => {
  /** wrapper, and what is said behind `sluice: `. */
  const CONDITIONS: [what: string, wrapper: readonly string[], said: string][] = [
    [
      'a caller who is not root',
      ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      'run needs root to load its eBPF programs, or an agent, and none runs here; run it with sudo, or have `sluice agent` started',
    ],
    ['no BTF', mounted('mount -t tmpfs none /sys/kernel/btf'), `${BTF} is missing, ${FIT}; ${OWN_BTF}`],
    ['BTF that is none', mounted(`mount --bind /dev/null ${BTF}`), `${BTF} holds no BTF, ${FIT}; ${OWN_BTF}`],
    [
      'a cgroup v2 that can not be written to',
      mounted(`mount -o remount,bind,ro ${CGROUP}`),
      `no cgroup can be made in ${CGROUP}: Read-only file system; mount cgroup v2 there for writing (in a container: -v ${CGROUP}:${CGROUP}:rw)`,
    ],
    [
      'no /proc',
      mounted('mount -t tmpfs none /proc'),
      "/proc/self/mountinfo can't be read (ENOENT); is /proc mounted? mount -t proc proc /proc",
    ],
    [
      'no capability for BPF',
      without('bpf', 'perfmon', 'sys_admin'),
      `${REFUSED}: this root lacks CAP_BPF and CAP_PERFMON; grant CAP_BPF and CAP_PERFMON (in a container: --privileged, or --cap-add for each)`,
    ],
    [
      'half the capabilities for BPF',
      without('perfmon', 'sys_admin'),
      `${REFUSED}: this root lacks CAP_PERFMON; grant CAP_PERFMON (in a container: --privileged, or --cap-add for each)`,
    ],
    [
      'a bpffs that can not be hidden from the command',
      [...mounted('mount -t bpf none /mnt'), ...without('sys_admin')],
      "cannot start 'touch': the BPF file systems could not be hidden from it: permission denied; grant CAP_SYS_ADMIN (in a container: --privileged)",
    ],
    [
      'no way to another user',
      without('setuid'),
      'the engine could not become sluice-engine: EPERM; grant CAP_SETUID and CAP_SETGID (in a container: --cap-add for each)',
    ],
    [
      'a /run that is read-only',
      mounted('mount -t tmpfs -o ro none /run'),
      `nothing can be made in /run/sluice: read-only file system (EROFS); ${WRITE_THERE}`,
    ],
    [
      'a /run that is full',
      mounted('mount -t tmpfs -o nr_inodes=2 none /run; mkdir /run/sluice'),
      `nothing can be made in /run/sluice: no space left on device (ENOSPC); ${WRITE_THERE}`,
    ],
    [
      'a file where its folder should be',
      mounted('mount -t tmpfs none /run; : >/run/sluice'),
      `/run/sluice ${ONLY_ROOT}; remove what is there`,
    ],
    [
      'a folder that others can write to',
      mounted('mount -t tmpfs none /run; mkdir -m 777 /run/sluice'),
      `/run/sluice ${ONLY_ROOT}; chown root /run/sluice && chmod 755 /run/sluice`,
    ],
    [
      'a build without its addon',
      mounted(`mount --bind /dev/null ${RELEASE}/sluice.node`),
      `the native addon at ${RELEASE}/sluice.node does not load; run \`npm run build\``,
    ],
    [
      'programs that may not be executed',
      mounted(`mount --bind ${RELEASE} ${RELEASE}; mount -o remount,bind,noexec ${RELEASE}`),
      `the launcher ${RELEASE}/launch does not start: EACCES; it must be executable, and so must be what is on its file system (mount option noexec?); npm run build makes it`,
    ],
    [
      'a launcher that is something else',
      mounted(`mount --bind /bin/true ${RELEASE}/launch`),
      "'touch' was not started: the launcher ended while it waited (exit 0)",
    ],
    ['a checkout that is not built', mounted(`mount -t tmpfs none ${ROOT}dist`), 'it is not built; run npm run build'],
    [
      'a Node.js that is too old',
      [
        'env',
        `NODE_OPTIONS=--import=data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'18.20.1'}})`,
      ],
      'Node.js 18.20.1 is too old: 20.19 or newer is needed; see https://nodejs.org/en/download',
    ],
  ]
  it.each(CONDITIONS)('%s', async (_, wrapper, said) => {
    await withTempDir(async (dir) => {
      expect(await runBy(wrapper, join(dir, 'made'))).toEqual({ exitCode: 125, said: `sluice: ${said}`, ran: false })
    })
  })

  it('no cgroup v2, with the way to mount it on this kind of machine', async () => {
    await withTempDir(async (dir) => {
      const ended = await runBy(mounted(`umount --lazy ${CGROUP}`), join(dir, 'made'))
      const said = expect.stringMatching(
        /^sluice: no cgroup v2 hierarchy is mounted on this machine; mount it.*: .*mount -t cgroup2 none \/sys\/fs\/cgroup.*$/,
      )
      expect(ended).toEqual({ exitCode: 125, said, ran: false })
    })
  })

  it('a seccomp filter on bpf(2)', async () => {
    await withTempDir(async (dir) => {
      const why = 'a seccomp filter on this process forbids bpf(2), it seems'
      const fix = 'start it without that filter (in a container: --security-opt seccomp=unconfined)'
      const ended = await runBy([compileC('no-bpf', dir)], join(dir, 'made'))
      expect(ended).toEqual({ exitCode: 125, said: `sluice: ${REFUSED}: ${why}; ${fix}`, ran: false })
    })
  })
})

describe.skipIf(skip)(`run does not need ${reason}`, () => {
  it.each<[what: string, wrapper: readonly string[]]>([
    ['the right to signal other users', without('kill')],
    ['locked memory', ['prlimit', '--memlock=0']],
    ['a mounted bpffs', mounted('umount /sys/fs/bpf 2>/dev/null || :')],
  ])('%s', async (_, wrapper) => {
    await withTempDir(async (dir) => {
      expect(await runBy(wrapper, join(dir, 'made'))).toEqual({ exitCode: 0, said: '', ran: true })
    })
  })

  it('room for the record: the run goes on, it is said once, and the exit code is the command’s', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const run = [
        SLUICE_BIN,
        'run',
        '--quiet',
        '--record',
        '"$RECORD"',
        '--',
        'sh',
        '-c',
        '"ls -R /etc >/dev/null; exit 7"',
      ]
      const script = `RECORD=${dir}/small/r; mkdir ${dir}/small; mount -t tmpfs -o size=64k none ${dir}/small
        ${run.join(' ')} || code=$?; cp "$RECORD" ${record}; exit $code`
      const { exitCode, said } = await call(['unshare', '-m', 'sh', '-c', script])
      expect(exitCode).toBe(7)
      expect(said).toMatch(
        /^sluice: --record \S+: the disk is full \(ENOSPC\); the record is incomplete, \d+ events are missing$/,
      )
      const missing = Number(/(\d+) events are missing/.exec(said)?.[1])
      const events = readRecord(record)
      expect(readFileSync(record, 'utf8').endsWith('\n')).toBe(true)
      const last = events.at(-1)
      expect(last).toMatchObject({ gap: { stage: expect.any(String) } })
      // Of those that the session numbered, what is not in the file is what was said to be missing.
      expect(missing).toBeGreaterThan(0)
      expect(events.length).toBeGreaterThan(10)
    })
  })
})
