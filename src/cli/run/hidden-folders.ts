/**
 * Which folders a command must not see: every BPF file system. What is pinned there can be opened by whoever may read the file, without any
 * capability, and with our maps in hand a command that runs as root could take itself out of its sandbox.
 */
import { type Mount, parseMounts, readMountinfo } from '../../base/mounts.js'

const ROOT_UID = 0

/** Empty for anybody but root, who can't cover a folder, and whose command can't open what is pinned by root. */
export function hiddenFolders(uid = process.geteuid?.() ?? -1): string[] {
  return uid === ROOT_UID ? bpfFolders(parseMounts(readMountinfo())) : []
}

/** Each once: a file system that is mounted twice at one place needs one cover. */
export function bpfFolders(mounts: readonly Mount[]): string[] {
  return [...new Set(mounts.filter((mount) => mount.fsType === 'bpf').map((mount) => mount.path))]
}
