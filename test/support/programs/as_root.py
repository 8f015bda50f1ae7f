# SPDX-License-Identifier: Apache-2.0
"""What root in a sandbox can try against what holds it: as_root.py DENIED PORT TOKEN FROM CGROUPS. Prints a line a try: its name, and `refused` or
what came of it. Nothing is written that would change the machine.
"""

import ctypes
import errno
import fcntl
import glob
import os
import socket
import struct
import subprocess
import sys

denied, port, token, source, cgroups = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)

SYS_BPF, SYS_PROCESS_VM_READV, SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 321, 310, 434, 438
BPF_OBJ_GET, BPF_PROG_DETACH, BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID = 7, 9, 11, 12, 31
BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID = 13, 14, 30
BPF_CGROUP_INET4_CONNECT = 10
PTRACE_SEIZE = 0x4206
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
CLONE_NEWNS, MS_BIND = 0x20000, 4096


class Refused(Exception):
    pass


def call(number, *args):
    result = libc.syscall(number, *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def bpf(command, *words):
    attr = struct.pack(f"{len(words)}I", *words).ljust(128, b"\0")
    return call(SYS_BPF, command, ctypes.c_char_p(attr), len(attr))


def pinned():
    for path in ["/sys/fs/bpf", *glob.glob("/run/sluice/**/bpf", recursive=True)]:
        if glob.glob(f"{path}/**/sl_*", recursive=True):
            return "found"
    raise Refused


def parts():
    """Processes of ours: they run our mains."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError:
            continue
        if b"sensor/main.js" in line:
            yield int(pid)


def of_parts(body):
    found = list(parts())
    for pid in found:
        body(pid)
    return "done" if found else "no parts"


def seize(pid):
    if libc.ptrace(PTRACE_SEIZE, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def take(pid):
    pidfd = call(SYS_PIDFD_OPEN, pid, 0)
    call(SYS_PIDFD_GETFD, pidfd, 3, 0)


def tunnel():
    """A packet that comes in by a device of our own, and that the machine is to send on."""
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"sltun0", IFF_TUN | IFF_NO_PI))
    for command in ("ip addr add 10.204.0.1/24 dev sltun0", "ip link set sltun0 up"):
        subprocess.run(command.split(), check=True)
    for setting in ("ip_forward", "conf/all/rp_filter", "conf/sltun0/rp_filter"):
        open(f"/proc/sys/net/ipv4/{setting}", "w").write("1" if setting == "ip_forward" else "0")
    text = token.encode()
    udp = struct.pack("!HHHH", 9, int(port), 8 + len(text), 0)
    head = [0x45, 0, 28 + len(text), 1, 0, 64, socket.IPPROTO_UDP, 0, socket.inet_aton("10.204.0.2"), socket.inet_aton(denied)]
    total = sum(struct.unpack("!10H", struct.pack("!BBHHHBBH4s4s", *head)))
    total = (total & 0xFFFF) + (total >> 16)
    head[7] = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    os.write(tun, struct.pack("!BBHHHBBH4s4s", *head) + udp + text)
    return "sent"


def by_ip(*words):
    ended = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ended.returncode == 0:
        return "done"
    raise Refused if "not permitted" in ended.stderr else RuntimeError(ended.stderr)


def netns():
    space = os.open("/proc/1/ns/net", os.O_RDONLY)
    if libc.setns(space, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def mount():
    if libc.mount(b"none", b"/mnt", b"cgroup2", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def unshare():
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def detach():
    folder = os.open(cgroups, os.O_RDONLY)
    try:
        bpf(BPF_PROG_DETACH, folder, 0, BPF_CGROUP_INET4_CONNECT)
    except OSError as failed:
        # What is attached by a link is not taken away so, whoever asks.
        raise Refused if failed.errno in (errno.EINVAL, errno.ENOENT) else failed


TRIES = {
    "programs": lambda: bpf(BPF_PROG_GET_NEXT_ID, 0, 0),
    "program": lambda: bpf(BPF_PROG_GET_FD_BY_ID, 1),
    "maps": lambda: bpf(BPF_MAP_GET_NEXT_ID, 0, 0),
    "map": lambda: bpf(BPF_MAP_GET_FD_BY_ID, 1),
    "links": lambda: bpf(BPF_LINK_GET_NEXT_ID, 0, 0),
    "link": lambda: bpf(BPF_LINK_GET_FD_BY_ID, 1),
    "detach": detach,
    "pins": pinned,
    "trace": lambda: of_parts(seize),
    "memory": lambda: of_parts(lambda pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))),
    "descriptors": lambda: of_parts(take),
    "init": lambda: os.close(os.open("/proc/1/mem", os.O_RDWR)),
    "init-root": lambda: os.close(os.open("/proc/1/root/etc/passwd", os.O_RDONLY)),
    "namespace": netns,
    "cgroupfs": mount,
    "mounts": unshare,
    "tunnel": tunnel,
    "address": lambda: by_ip("addr", "add", "10.205.0.1/24", "dev", "lo"),
    "route": lambda: by_ip("route", "add", "10.206.0.0/16", "via", "10.203.0.2"),
    "neighbour": lambda: by_ip("neigh", "add", "10.203.0.9", "lladdr", "02:00:00:00:00:01", "dev", "lo"),
    "policy-routing": lambda: by_ip("rule", "add", "pref", "7", "table", "7"),
    "transformation": lambda: by_ip("xfrm", "policy", "flush"),
    "device": lambda: by_ip("link", "add", "slone", "type", "veth", "peer", "name", "sltwo"),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    "module": lambda: call(175, b"", 0, b""),
}

for name, attempt in TRIES.items():
    try:
        said = attempt()
    except Refused:
        said = "refused"
    except OSError as failed:
        # A kernel without it refuses it to everybody.
        said = "refused" if failed.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS) else os.strerror(failed.errno)
    except Exception as failed:
        said = repr(failed)
    print(name, said if isinstance(said, str) else "done", flush=True)
try:
    socket.create_connection((denied, int(port)), 2).send(token.encode())
    print("connect done")
except OSError as failed:
    print("connect", "refused" if failed.errno == errno.EPERM else failed)
