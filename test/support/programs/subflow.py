# SPDX-License-Identifier: Apache-2.0
"""Sends by MPTCP to a neighbour, and goes on for a while: the kernel opens flows to what that one says it has besides.

subflow.py CGROUP|- ADDRESS PORT TOKEN   moves itself into the cgroup before it makes its socket. Prints the errno it ended with.
"""

import errno
import os
import socket
import sys
import time

IPPROTO_MPTCP = 262
cgroup, address, port, token = sys.argv[1:]

if cgroup != "-":
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as procs:
        procs.write(str(os.getpid()))
error = 0
try:
    flow = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    flow.connect((address, int(port)))
    # A small piece at a time, by whatever flow is free.
    for _ in range(40):
        flow.send(token.encode())
        time.sleep(0.05)
except OSError as failed:
    error = 1000 if failed.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT) else failed.errno
print(error)
