# SPDX-License-Identifier: Apache-2.0
"""Starts so many programs at once and says when each had ended: exec_storm.py COUNT [wake]

Prints a line for each: the milliseconds since the first was started, and how it ended (0, or minus a signal). `wake`: meanwhile it has
every one of them go on, again and again.
"""

import os
import signal
import sys
import time

count = int(sys.argv[1])
wakes = "wake" in sys.argv[2:]
begin = time.monotonic()
running = set()
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/true", ["true"])
    running.add(pid)
deadline = begin + 60
while running and time.monotonic() < deadline:
    if wakes:
        for pid in running:
            os.kill(pid, signal.SIGCONT)
    for pid in list(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            running.discard(pid)
            print(int((time.monotonic() - begin) * 1000), os.waitstatus_to_exitcode(status), flush=True)
    time.sleep(0.002)
for pid in running:
    os.kill(pid, signal.SIGKILL)
    print(-1, "left", flush=True)
