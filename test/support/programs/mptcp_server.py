# SPDX-License-Identifier: Apache-2.0
"""Takes MPTCP connections at every address, and what they send: mptcp_server.py PORT…   prints "ready" first; ends with its standard input."""

import select
import socket
import sys

IPPROTO_MPTCP = 262

sources = [sys.stdin]
for port in sys.argv[1:]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", int(port)))
    listener.listen()
    sources.append(listener)
listeners = sources[1:]
print("ready", flush=True)
while True:
    for source in select.select(sources, [], [])[0]:
        if source is sys.stdin:
            sys.exit()
        if source in listeners:
            sources.append(source.accept()[0])
        elif not source.recv(65536):
            sources.remove(source)
