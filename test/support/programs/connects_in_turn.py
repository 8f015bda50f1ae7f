# SPDX-License-Identifier: Apache-2.0
"""Connects from several processes and says when each was through: connects_in_turn.py ADDRESS PORT PROCESSES TRIES [wake] [alarm]

Prints a line for each: the milliseconds since the first began, and the error number, 0 for none. `wake`: meanwhile it has every process go
on, again and again. `alarm`: a signal that they handle comes to them all the time.
"""

import os
import signal
import socket
import sys
import time

address, port, processes, tries = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
begin = time.monotonic()


def connect():
    for _ in range(tries):
        with socket.socket() as made:
            error = made.connect_ex((address, port))
        os.write(1, f"{int((time.monotonic() - begin) * 1000)} {error}\n".encode())


running = set()
for _ in range(processes):
    pid = os.fork()
    if pid == 0:
        if "alarm" in sys.argv:
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        connect()
        os._exit(0)
    running.add(pid)
deadline = begin + 60
while running and time.monotonic() < deadline:
    if "wake" in sys.argv:
        for pid in running:
            os.kill(pid, signal.SIGCONT)
    running = {pid for pid in running if os.waitpid(pid, os.WNOHANG)[0] == 0}
    time.sleep(0.002)
for pid in running:
    os.kill(pid, signal.SIGKILL)
