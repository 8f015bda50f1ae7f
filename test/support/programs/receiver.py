# SPDX-License-Identifier: Apache-2.0
"""Receives on every address and port given, by TCP, UDP and as echo requests, and prints a line for each text: address, port, text.

What nobody listens for counts too: a tap on the wire says every text that any packet brings, with port 0, and of TCP, once, which
ports were tried at all: address, 0, tcp:PORT.

receiver.py WIRE PORT,PORT ADDRESS…   prints "ready" first; ends with its standard input.
"""

import select
import socket
import sys

IPPROTO_MPTCP = 262
IPPROTO_UDPLITE = 136
TCP_FASTOPEN = 23
ETH_P_ALL = 3
PACKET_OUTGOING = 4


def stream(family, address, port, protocol=0):
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    listener.bind((address, port))
    listener.listen(64)
    return listener


def datagrams(family, address, port, protocol=0):
    receiver = socket.socket(family, socket.SOCK_DGRAM, protocol)
    receiver.bind((address, port))
    return receiver


def echoes(family, address):
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    receiver = socket.socket(family, socket.SOCK_RAW, protocol)
    receiver.bind((address, 0))
    return receiver


def tap(wire):
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    packets.bind((wire, ETH_P_ALL))
    return packets


def payload(protocol, data):
    """Behind the header of a transport, as far as it is known here."""
    if protocol == socket.IPPROTO_TCP and len(data) > 12:
        return data[(data[12] >> 4) * 4 :]
    return data[8:]


def tapped(packets, tried):
    """Address and texts of a packet that came in by the wire."""
    data, link = packets.recvfrom(65536)
    if link[2] == PACKET_OUTGOING or len(data) < 28 or data[0] >> 4 not in (4, 6):
        return "", []
    if data[0] >> 4 == 4:
        size = int.from_bytes(data[2:4], "big")
        address, protocol, inner = socket.inet_ntop(socket.AF_INET, data[16:20]), data[9], data[(data[0] & 15) * 4 : size]
    else:
        address, protocol, inner = socket.inet_ntop(socket.AF_INET6, data[24:40]), data[6], data[40:]
    texts = [printable(payload(protocol, inner))]
    if protocol == socket.IPPROTO_TCP:
        flow = f"tcp:{int.from_bytes(inner[2:4], 'big')}"
        if (address, flow) not in tried:
            tried.add((address, flow))
            texts.append(flow)
    return address, texts


def printable(data):
    """The text at the end of what came, behind headers."""
    end = bytearray()
    for byte in reversed(data):
        if not 32 < byte < 127:
            break
        end.insert(0, byte)
    return end.decode()


def main():
    ports = [int(port) for port in sys.argv[2].split(",")]
    tried = set()
    sources = {tap(sys.argv[1]): ("tap", "", 0)}
    for address in sys.argv[3:]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sources[echoes(family, address)] = ("packets", address, 0)
        for port in ports:
            sources[stream(family, address, port)] = ("listener", address, port)
            sources[datagrams(family, address, port)] = ("packets", address, port)
            try:
                sources[datagrams(family, address, port, IPPROTO_UDPLITE)] = ("packets", address, port)
            except OSError:
                pass
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([*sources, sys.stdin], [], [])
        for source in readable:
            if source is sys.stdin:
                return
            kind, address, port = sources[source]
            if kind == "listener":
                sources[source.accept()[0]] = ("stream", address, port)
                continue
            if kind == "tap":
                address, texts = tapped(source, tried)
                for text in filter(None, texts):
                    print(address, port, text, flush=True)
                continue
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            if kind == "stream" and not data:
                del sources[source]
                source.close()
            text = printable(data)
            if text:
                print(address, port, text, flush=True)


main()
