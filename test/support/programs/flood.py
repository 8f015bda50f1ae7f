# SPDX-License-Identifier: Apache-2.0
"""Does very much that is told, in the midst of it one thing that is refused, and much more after: flood.py OPENS SENDS ALLOWED DENIED PORT TOKEN.

OPENS fail, each of another path; SENDS go to the allowed address, each by a socket of its own. Prints the errno of the refused connect.
"""

import os
import socket
import sys

opens, sends, allowed, denied, port, token = sys.argv[1:]


def flood():
    for number in range(int(opens)):
        try:
            os.close(os.open(f"/nowhere/{token}/{number}", os.O_RDONLY))
        except OSError:
            pass
    for _ in range(int(sends)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.sendto(b"flood.", (allowed, int(port)))
        sender.close()


flood()
hidden = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
try:
    hidden.connect((denied, int(port)))
    print(0)
except OSError as refused:
    print(refused.errno)
flood()
