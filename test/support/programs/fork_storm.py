# SPDX-License-Identifier: Apache-2.0
"""Forks without end for a while; each child sends by a socket that it inherited and by a copy of it: fork_storm.py ALLOWED DENIED PORT.

Prints how many sends got through to the allowed address and how many to the denied one were refused.
"""

import os
import socket
import sys
import time

allowed, denied, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
SECONDS = 2
CHILDREN_MAX = 600


def sends(lent):
    """A byte for each send: what came of it."""
    said = b""
    for each in (lent, lent.dup()):
        try:
            each.sendto(b"storm-allowed.", (allowed, port))
            said += b"s"
        except OSError:
            said += b"f"
        try:
            each.sendto(b"storm-denied.", (denied, port))
            said += b"d"
        except PermissionError:
            said += b"r"
    return said


told, tell = os.pipe()
end = time.monotonic() + SECONDS
children = 0
while time.monotonic() < end and children < CHILDREN_MAX:
    lent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        os.write(tell, sends(lent))
        if os.fork() == 0:
            os.write(tell, sends(lent))
        os._exit(0)
    lent.close()
    os.waitpid(child, 0)
    children += 1
os.close(tell)
said = b""
while True:
    more = os.read(told, 65536)
    if not more:
        break
    said += more
print(said.count(b"s"), said.count(b"r") if b"d" not in said else -1)
