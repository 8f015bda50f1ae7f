# SPDX-License-Identifier: Apache-2.0
"""Gives many sockets to a sandbox, one by one, and keeps them open: lent_many.py COUNT CGROUP.

A child moves itself into the cgroup, takes each by SCM_RIGHTS, closes it and says so. Prints how many it took before its end.
"""

import os
import resource
import socket
import sys

count, cgroup = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
ours, theirs = socket.socketpair()


def take():
    ours.close()
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as procs:
        procs.write(str(os.getpid()))
    theirs.send(b"i")
    while True:
        data, descriptors, _, _ = socket.recv_fds(theirs, 16, 1)
        if not data:
            os._exit(0)
        os.close(descriptors[0])
        theirs.send(b"k")


child = os.fork()
if child == 0:
    take()
theirs.close()
ours.recv(1)
kept, taken = [], 0
for _ in range(count):
    lent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept.append(lent)
    try:
        socket.send_fds(ours, [b"x"], [lent.fileno()])
        if not ours.recv(1):
            break
    except OSError:
        break
    taken += 1
ours.close()
os.waitpid(child, 0)
print(taken, flush=True)
