/** Which guests the lane boots: each a kernel, what is special about its boot, and the job it does (a script of test/vm/guest). */

/**
 * Emulated, the tests take about ten times as long as on the host: here, what says something about the kernel. Beside the host's own tests
 * a guest has a third of a CPU.
 */
const SUITE_DEADLINE_MS = 2_400_000
const SUITE_FILES = ['test/kernel/']

/**
 * @typedef {{ name: string, kernel: string, job: string, append?: string, deadlineMs?: number }} Guest
 */
const suite = (kernel, files = SUITE_FILES) => ({
  name: `${kernel} suite`,
  kernel,
  job: 'suite',
  append: `SLUICE_FILES=${files.join(',')}`,
  deadlineMs: SUITE_DEADLINE_MS,
})

/** @type {readonly Guest[]} those that take longest first, so that no slot is left idle for them at the end */
export const GUESTS = Object.freeze([
  suite('6.1'),
  suite('6.12'),
  { name: '6.1', kernel: '6.1', job: 'watches' },
  { name: '6.12', kernel: '6.12', job: 'watches' },
  {
    name: '6.1 without the BPF LSM',
    kernel: '6.1',
    job: 'no-bpf-lsm',
    append: 'lsm=lockdown,capability,yama,apparmor',
  },
  { name: '6.1 locked down', kernel: '6.1', job: 'locked-down', append: 'lockdown=confidentiality' },
  { name: '5.10, below the floor', kernel: '5.10', job: 'refuses' },
])

/** Of a developer who works at these. @param {readonly string[]} files @returns {readonly Guest[]} */
export const suitesOf = (files) => ['6.1', '6.12'].map((kernel) => suite(kernel, files))

/** @type {readonly Guest[]} what `--load` boots instead */
export const LOAD_GUESTS = Object.freeze(
  ['6.1', '6.12'].map((kernel) => ({ name: `${kernel} load`, kernel, job: 'load' })),
)
