# SPDX-License-Identifier: Apache-2.0
"""Listens on addresses and says what becomes of each connection: ends.py PORT ADDRESS…

Prints "ready" first, then a line for each text ("ADDRESS text TEXT") and each end ("ADDRESS reset" or "ADDRESS closed"). Ends with its
standard input.
"""

import select
import socket
import sys


def listener(address, port):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen(64)
    return made


def main():
    port, addresses = int(sys.argv[1]), sys.argv[2:]
    listeners = {listener(address, port): address for address in addresses}
    accepted = {}
    print("ready", flush=True)
    while True:
        for source in select.select([*listeners, *accepted, sys.stdin], [], [])[0]:
            if source is sys.stdin:
                return
            if source in listeners:
                accepted[source.accept()[0]] = listeners[source]
                continue
            try:
                said = source.recv(4096)
                what = f"text {said.decode()}" if said else "closed"
            except ConnectionResetError:
                said, what = b"", "reset"
            print(accepted[source], what, flush=True)
            if not said:
                del accepted[source]
                source.close()


main()
