/** Where setup unpacked the receivers of the sinks' tests, and what they find their libraries by. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const UNPACKED = fileURLToPath(new URL('../../build/receivers', import.meta.url))
const MULTIARCH = `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
/** As Debian has them, and then others. */
export const LIBRARIES = [`usr/lib/${MULTIARCH}`, `lib/${MULTIARCH}`, 'usr/lib/syslog-ng', 'usr/lib', 'usr/lib64']
export const LIBRARY_PATH = LIBRARIES.map((library) => join(UNPACKED, library)).join(':')
