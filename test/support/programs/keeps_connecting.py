# SPDX-License-Identifier: Apache-2.0
"""Connects and sends all the time, until a file is there: keeps_connecting.py STOP NAME-SUFFIX ALLOWED DENIED,DENIED PORT

Prints a line for each try: what it was, its token, how it ended. A name is never asked for twice.
"""

import errno
import os
import socket
import sys
import time

stop, suffix, allowed, denied, port = sys.argv[1:6]
port = int(port)


def ended(try_it):
    try:
        try_it()
        return "sent"
    except socket.gaierror:
        return "no-name"
    except OSError as error:
        return errno.errorcode.get(error.errno, "time-out")


def by_tcp(target, token):
    with socket.create_connection((target, port), 2) as connection:
        connection.sendall(token.encode())


def by_udp(target, token):
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(token.encode(), (target, port))


def told(what, token, how):
    print(what, token, how, flush=True)


number = 0
end = time.monotonic() + 300
while not os.path.exists(stop) and time.monotonic() < end:
    number += 1
    token = "ok-%d" % number
    told("name", token, ended(lambda: by_tcp("n%d.%s" % (number, suffix), token)))
    token = "leased-%d" % number
    told("leased", token, ended(lambda: by_tcp(allowed, token)))
    for target in denied.split(","):
        told("denied", "never-%d" % number, ended(lambda: by_tcp(target, "never-%d" % number)))
        told("denied", "never-%d" % number, ended(lambda: by_udp(target, "never-%d" % number)))
    time.sleep(0.01)
