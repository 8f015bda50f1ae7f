"""Makes cgroups and sends from each at once: newborn.py FOLDER PREFIX ROUNDS ADDRESS PORT TOKEN. Prints the errno of each connect and sendto."""

import os
import socket
import sys

folder, prefix, rounds, address, port, token = sys.argv[1:]


def errno_of(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def send(cgroup):
    """In a process of its own, which ends there."""
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream = socket.socket()
    os.mkdir(cgroup)
    with open(f"{cgroup}/cgroup.procs", "w") as procs:
        procs.write("0")
    connected = errno_of(lambda: stream.connect((address, int(port))))
    # A socket from outside, and one that was made here.
    lent = errno_of(lambda: datagram.sendto(token.encode(), (address, int(port))))
    own = errno_of(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(token.encode(), (address, int(port))))
    if connected == 0:
        stream.sendall(token.encode())
    stream.close()
    print(connected, lent, own, flush=True)


for each in range(int(rounds)):
    child = os.fork()
    if child == 0:
        send(f"{folder}/{prefix}{each}")
        os._exit(0)
    os.waitpid(child, 0)
