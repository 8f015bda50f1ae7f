"""
Listens outside: at allowed and denied, in a folder and under abstract names, for streams and datagrams. Prints what comes, a line each.
A line of standard input is given back once all that came before it has been printed.
"""
import os
import selectors
import socket
import sys

folder, tag = sys.argv[1:3]
waiting = selectors.DefaultSelector()
os.umask(0)
for which in ("allowed", "denied"):
    for kind, suffix in ((socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "dgram")):
        for name in (f"{folder}/{which}.{suffix}", f"\0{tag}-{which}-{suffix}"):
            made = socket.socket(socket.AF_UNIX, kind)
            made.bind(name)
            if kind == socket.SOCK_STREAM:
                made.listen(64)
            waiting.register(made, selectors.EVENT_READ, kind == socket.SOCK_STREAM)
waiting.register(sys.stdin, selectors.EVENT_READ, None)
print("ready", flush=True)
asked = []
while True:
    # What was sent to a Unix socket is there at once: where nothing can be read, nothing is under way.
    ready = waiting.select(0 if asked else None)
    if not any(key.data is not None for key, _ in ready):
        for line in asked:
            print(line, flush=True)
        asked.clear()
    for key, _ in ready:
        if key.data is None:
            got = os.read(key.fd, 4096).decode()
            if not got:
                sys.exit(0)
            asked += got.splitlines()
            continue
        if key.data:
            client, _ = key.fileobj.accept()
            waiting.register(client, selectors.EVENT_READ, False)
            continue
        got = key.fileobj.recv(4096)
        if got:
            print(got.decode(), flush=True)
        elif key.fileobj.type == socket.SOCK_STREAM:
            waiting.unregister(key.fileobj)
            key.fileobj.close()
