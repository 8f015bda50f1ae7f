/**
 * What the build, the demo and the tests need from the system: how to see that it is there, what for, and the package that
 * brings it. Presence is checked by the command or header itself, so it doesn't matter who installed it.
 */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const INCLUDE_DIRS = ['/usr/include', '/usr/local/include', `/usr/include/${multiarch()}`]

/** What each purpose needs: a command, a header (ends in .h) or a program by its path, and what for. */
const WANTED = {
  build: {
    clang: 'to compile the BPF programs',
    'llvm-strip': 'to strip debug sections from the BPF objects',
    'bpf/libbpf.h': 'to load and attach the BPF programs',
    'libelf.h': 'for libbpf to read object files',
    'zlib.h': 'for libelf to unpack sections',
    cmake: 'to configure the build of the native addon',
    make: 'to run the build of the native addon',
    'g++': 'to compile the native addon',
  },
  demo: {
    git: 'for the demo agent to call',
    python3: 'for the demo agent to call',
    bash: 'for the demo agent to call',
  },
  test: {
    strace: 'for tests to compare recorded events with',
    gcc: 'to compile the small C programs that tests watch',
    ps: 'for tests to see which processes are left',
    openssl: 'to make the certificates that tests use',
    'clang-format': 'to check the format of the C sources',
    unbound: 'for tests of the gateway to have a resolver',
    prometheus: 'for tests of the metrics to be asked by the real one',
    'prometheus-alertmanager': 'for tests of alerts to be told to the real one',
    dig: 'for tests to ask the gateway',
    'musl-gcc': 'for tests to ask the gateway by another C library',
  },
  vm: {
    'qemu-system-x86_64': 'for its virtiofsd, which gives a guest files',
    '/bin/busybox': 'for a guest to start with',
    cpio: 'to pack the first file system of a guest',
    modprobe: 'to find the modules that a guest needs',
    xz: 'to unpack those modules',
    zstd: 'to unpack those modules',
  },
}

/** Installed where we can; elsewhere nothing fails without them. */
const OPTIONAL = ['clang-format', 'musl-gcc']

const MANAGERS = ['apt', 'dnf', 'pacman', 'apk']

/** Packages by manager, in the order of MANAGERS, where their name isn't simply the command's. */
const PACKAGES = {
  'llvm-strip': ['llvm', 'llvm', 'llvm', 'llvm'],
  'bpf/libbpf.h': ['libbpf-dev', 'libbpf-devel', 'libbpf', 'libbpf-dev'],
  'libelf.h': ['libelf-dev', 'elfutils-libelf-devel', 'libelf', 'elfutils-dev'],
  'zlib.h': ['zlib1g-dev', 'zlib-devel', 'zlib', 'zlib-dev'],
  'g++': ['g++', 'gcc-c++', 'gcc', 'g++'],
  python3: ['python3', 'python3', 'python', 'python3'],
  'musl-gcc': ['musl-tools', 'musl-gcc', 'musl', 'musl-dev'],
  ps: ['procps', 'procps-ng', 'procps-ng', 'procps'],
  'qemu-system-x86_64': ['qemu-system-x86', 'qemu-system-x86-core', 'qemu-system-x86', 'qemu-system-x86_64'],
  '/bin/busybox': ['busybox-static', 'busybox', 'busybox', 'busybox-static'],
  modprobe: ['kmod', 'kmod', 'kmod', 'kmod'],
  xz: ['xz-utils', 'xz', 'xz', 'xz'],
  'clang-format': ['clang-format', 'clang-tools-extra', 'clang', 'clang-extra-tools'],
  'prometheus-alertmanager': ['prometheus-alertmanager', 'alertmanager', 'alertmanager', 'alertmanager'],
  dig: ['bind9-dnsutils', 'bind-utils', 'bind', 'bind-tools'],
}

/**
 * What is missing for these purposes.
 * @typedef {{ sign: string, why: string, optional: boolean, packages: Record<'apt' | 'dnf' | 'pacman' | 'apk', string> }} Need
 * @param {readonly ('build' | 'demo' | 'test' | 'vm')[]} purposes
 * @returns {Need[]} `sign` is the command or header by which presence is seen
 */
export function missingNeeds(purposes) {
  return purposes
    .flatMap((purpose) => Object.entries(WANTED[purpose]))
    .filter(([sign]) => !isPresent(sign))
    .map(([sign, why]) => ({ sign, why, optional: OPTIONAL.includes(sign), packages: packagesOf(sign) }))
}

/** Whether a command of this name is on PATH and executable. */
export function hasCommand(name) {
  const dirs = (process.env.PATH ?? '').split(delimiter).filter((dir) => dir !== '')
  // System administration commands live in sbin, which isn't on every user's PATH.
  return [...dirs, '/usr/sbin', '/sbin'].some((dir) => isExecutable(join(dir, name)))
}

function isPresent(sign) {
  if (sign.startsWith('/')) return isExecutable(sign)
  return sign.endsWith('.h') ? INCLUDE_DIRS.some((dir) => existsSync(join(dir, sign))) : hasCommand(sign)
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function packagesOf(sign) {
  const names = PACKAGES[sign] ?? MANAGERS.map(() => sign)
  return Object.fromEntries(MANAGERS.map((manager, index) => [manager, names[index]]))
}

function multiarch() {
  const cpu = { x64: 'x86_64', arm64: 'aarch64', riscv64: 'riscv64', s390x: 's390x', ppc64: 'powerpc64le' }
  return `${cpu[process.arch] ?? process.arch}-linux-gnu`
}
