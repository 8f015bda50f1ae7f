"""Resolves a name as Go's own resolver does: A and AAAA at once, each by a connected UDP socket with EDNS of 1232 bytes, and anew by TCP
where an answer is cut off; nothing but the answer to the very question counts. Prints the addresses, sorted, or the rcode."""
import os, socket, struct, sys, threading

SERVER, NAME = sys.argv[1], sys.argv[2]
TIMEOUT = 5


def question(kind):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split("."))
    head = struct.pack(">HHHHHH", int.from_bytes(os.urandom(2), "big"), 0x0100, 1, 0, 0, 1)
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)


def exchange(kind, query, over_tcp):
    s = socket.socket(socket.AF_INET6 if ":" in SERVER else socket.AF_INET, socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM)
    s.settimeout(TIMEOUT)
    s.connect((SERVER, 53))
    if not over_tcp:
        s.send(query)
        while True:
            answer = s.recv(1232)
            if answer[:2] == query[:2]:
                return answer
    s.sendall(struct.pack(">H", len(query)) + query)
    held = b""
    while len(held) < 2 or len(held) < 2 + struct.unpack(">H", held[:2])[0]:
        part = s.recv(65536)
        if not part:
            raise OSError("closed")
        held += part
    return held[2:]


def skip_name(message, at):
    while message[at]:
        if message[at] & 0xC0:
            return at + 2
        at += message[at] + 1
    return at + 1


def addresses(message):
    found, at = [], skip_name(message, 12) + 4
    for _ in range(struct.unpack(">H", message[6:8])[0]):
        at = skip_name(message, at)
        kind, _, _, length = struct.unpack(">HHIH", message[at : at + 10])
        data = message[at + 10 : at + 10 + length]
        if kind in (1, 28):
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data))
        at += 10 + length
    return found


RESULTS = {}


def resolve(kind):
    query = question(kind)
    answer = exchange(kind, query, False)
    way = "udp"
    if answer[2] & 2:
        answer, way = exchange(kind, query, True), "tcp"
    assert answer[:2] == query[:2] and answer[12 : len(query) - 11] == query[12:-11]
    RESULTS[kind] = (way, answer[3] & 0xF, addresses(answer))


threads = [threading.Thread(target=resolve, args=(kind,)) for kind in (1, 28)]
for each in threads:
    each.start()
for each in threads:
    each.join()
for kind in (1, 28):
    way, rcode, found = RESULTS[kind]
    print(way, rcode, *sorted(found))
