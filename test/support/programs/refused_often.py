"""Is refused the same again and again: refused_often.py CALL TIMES ADDRESS PORT. Prints how often by EPERM, then waits for its input's end."""

import errno
import socket
import sys

call, times, address, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
refused = 0
for _ in range(times):
    try:
        if call == "connect":
            with socket.socket() as stream:
                stream.connect((address, port))
        elif call == "sendto":
            kept.sendto(b"refused", (address, port))
    except OSError as error:
        refused += error.errno == errno.EPERM
print(refused, flush=True)
sys.stdin.read()
