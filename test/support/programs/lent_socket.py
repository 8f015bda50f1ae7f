# SPDX-License-Identifier: Apache-2.0
"""Uses a socket of who was not in the sandbox: lent_socket.py HOW KIND WITH ADDRESS PORT TOKEN CGROUP.

HOW it comes into the sandbox. inherited: its owner moves itself into the cgroup. passed: by SCM_RIGHTS to a child that moved itself there
before. taken: by pidfd_getfd, which a child does there. born: to a child that is born in the cgroup (clone3).
KIND of socket: tcp, udp: connected. udp-open: not connected. listener: one that a neighbour connects to; what it accepts is sent by.
packet: of the wire itself. vsock: to the machine below.
WITH what else before it sends. plain: nothing. more: what is sent waits for more, and leaves by a timer. encap: the socket is told to
be a tunnel's. cork: sends when it is told to.
Prints the errno of the last send.
"""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

how, kind, trick, address, port, token, cgroup = sys.argv[1:]

UDP_ENCAP = 100
UDP_ENCAP_ESPINUDP = 2
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD, SYS_CLONE3 = 434, 438, 435
CLONE_INTO_CGROUP = 0x200000000
ETH_P_IP = 0x0800
ACCEPT_S = 2
libc = ctypes.CDLL(None, use_errno=True)


def enter():
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as procs:
        procs.write(str(os.getpid()))


CALLER = """
import socket, sys
caller = socket.create_connection((sys.argv[2], int(sys.argv[3])), 5, (sys.argv[1], 0))
caller.recv(100)
"""


def call(listener):
    """A neighbour calls."""
    where, number = listener.getsockname()
    outside = ["nsenter", f"--net={os.environ['REACH_OUTSIDE']}"]
    subprocess.Popen([*outside, sys.executable, "-c", CALLER, address, where, str(number)], stderr=subprocess.DEVNULL)


def packet():
    """Of UDP, to the address."""
    text = token.encode()
    udp = struct.pack("!HHHH", 9, int(port), 8 + len(text), 0)
    source = socket.inet_aton(os.environ["REACH_FROM"])
    head = [0x45, 0, 28 + len(text), 1, 0, 64, socket.IPPROTO_UDP, 0, source, socket.inet_aton(address)]
    words = struct.unpack("!10H", struct.pack("!BBHHHBBH4s4s", *head))
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    head[7] = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHHBBH4s4s", *head) + udp + text


def made():
    stream = kind in ("tcp", "listener")
    if kind == "packet":
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    if kind == "vsock":
        return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    lent = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    if kind == "listener":
        lent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        lent.bind((os.environ["REACH_FROM"], 0))
        lent.listen()
        call(lent)
    elif kind != "udp-open":
        lent.connect((address, int(port)))
    return lent


def prepare(lent):
    if trick == "encap":
        lent.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    elif trick == "cork":
        lent.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


def send_once(lent):
    if kind == "packet":
        lent.sendto(packet(), (os.environ["REACH_INTERFACE"], ETH_P_IP, 0, 0, b"\xff" * 6))
    elif kind == "udp-open":
        lent.sendto(token.encode(), (address, int(port)))
    else:
        lent.send(token.encode(), socket.MSG_MORE if trick == "more" else 0)


def use(lent):
    if kind == "listener":
        lent.settimeout(ACCEPT_S)
        try:
            lent = lent.accept()[0]
        except TimeoutError:
            return
    error = 0
    try:
        prepare(lent)
    except OSError as refused:
        print("prepare:", refused, file=sys.stderr)
    # What the kernel still holds after a first refusal must not leave later either.
    for _ in range(3):
        try:
            send_once(lent)
        except OSError as refused:
            error = refused.errno
        time.sleep(0.3)
    print(error, flush=True)


def in_child(body, born=False):
    if not born:
        child = os.fork()
    else:
        folder = os.open(cgroup, os.O_RDONLY)
        args = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, folder)
        child = libc.syscall(SYS_CLONE3, args, len(args))
    if child == 0:
        body()
        os._exit(0)
    os.waitpid(child, 0)


def passed():
    ours, theirs = socket.socketpair()
    lent = made()

    def receive():
        lent.close()
        enter()
        theirs.send(b"in")
        _, descriptors, _, _ = socket.recv_fds(theirs, 16, 1)
        use(socket.socket(fileno=descriptors[0]))

    child = os.fork()
    if child == 0:
        receive()
        os._exit(0)
    ours.recv(2)
    socket.send_fds(ours, [b"x"], [lent.fileno()])
    os.waitpid(child, 0)


def taken():
    ready, held = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        enter()
        number = int(os.read(ready, 16))
        pidfd = libc.syscall(SYS_PIDFD_OPEN, parent, 0)
        use(socket.socket(fileno=libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)))
        os._exit(0)
    lent = made()
    os.write(held, str(lent.fileno()).encode())
    os.waitpid(child, 0)


if how == "inherited":
    lent = made()
    enter()
    use(lent)
elif how == "born":
    lent = made()
    in_child(lambda: use(lent), born=True)
elif how == "passed":
    passed()
else:
    taken()
