# SPDX-License-Identifier: Apache-2.0
"""Takes what comes by TCP and UDP at a port: byte_sink.py ADDRESS PORT. Prints `ready`, and how many bytes it had when its input ends."""

import os
import socket
import sys
import threading

address, port = sys.argv[1], int(sys.argv[2])
total = 0
lock = threading.Lock()


def count(size):
    global total
    with lock:
        total += size


def take(connection):
    try:
        while data := connection.recv(1 << 16):
            count(len(data))
    except ConnectionResetError:
        pass


def accept(listener):
    while True:
        threading.Thread(target=take, args=(listener.accept()[0],), daemon=True).start()


def hear(datagrams):
    while True:
        count(len(datagrams.recv(1 << 16)))


listener = socket.create_server((address, port))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((address, port))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
threading.Thread(target=hear, args=(datagrams,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
print(total, flush=True)
os._exit(0)
