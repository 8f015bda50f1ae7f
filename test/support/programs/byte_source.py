# SPDX-License-Identifier: Apache-2.0
"""Sends as much as it can for a while: byte_source.py tcp|udp|unpaced SOCKETS SECONDS ADDRESS PORT. Prints the seconds that it took.

`unpaced`: as tcp, but it takes its own pacing back all the time.
"""

import socket
import struct
import sys
import threading
import time

kind, sockets, seconds, address, port = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], int(sys.argv[5])
SO_MAX_PACING_RATE = 47
UNPACED = struct.pack("I", 0xFFFFFFFF)
begin = time.monotonic()
end = begin + seconds
opened = []


def send_stream(connection):
    data = b"x" * 16384
    while time.monotonic() < end:
        try:
            connection.send(data)
        except (socket.timeout, BlockingIOError):
            pass
        except OSError:
            return


def send_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((address, port))
        while time.monotonic() < end:
            try:
                datagrams.send(b"x" * 1200)
            except OSError:
                time.sleep(0.0005)


def unpace():
    while time.monotonic() < end:
        for connection in opened:
            connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, UNPACED)


threads = []
for _ in range(sockets):
    if kind == "udp":
        threads.append(threading.Thread(target=send_datagrams))
        continue
    connection = socket.create_connection((address, port))
    # What waits in a buffer at the end was not sent in time.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    connection.settimeout(0.2)
    opened.append(connection)
    threads.append(threading.Thread(target=send_stream, args=(connection,)))
if kind == "unpaced":
    threads.append(threading.Thread(target=unpace))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for connection in opened:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
print(time.monotonic() - begin, flush=True)
