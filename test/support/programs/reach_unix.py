"""Tries to get a text to a Unix socket in one of several ways; prints the errno, 0 if it was sent."""
import ctypes
import os
import socket
import sys
import tempfile
import threading
import time

RENAME_EXCHANGE = 2
PR_SET_PDEATHSIG = 1
TRIES = 3000
libc = ctypes.CDLL(None, use_errno=True)


def name_of(text):
    return "\0" + text[1:] if text.startswith("@") else text


def stream(name, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(name)
        made.send(text)


def sendto(name, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.sendto(text, name)


def dgram(name, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.connect(name)
        made.send(text)


def listener(name, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(name)
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made


def relative(name, text):
    os.chdir(os.path.dirname(name))
    stream(os.path.basename(name), text)


def dotted(name, text):
    os.chdir(os.path.dirname(name))
    stream("./" + os.path.basename(name), text)


def symlinked(name, text):
    link = tempfile.mkdtemp() + "/link"
    os.symlink(name, link)
    stream(link, text)


def hardlinked(name, text):
    link = os.path.dirname(name) + "/linked-" + os.path.basename(name)
    os.link(name, link)
    try:
        stream(link, text)
    finally:
        os.unlink(link)


def replaced(name, text):
    """A name of its own that leads elsewhere by now."""
    own = tempfile.mkdtemp() + "/own"
    kept = listener(own)
    stream(own, b"to itself")
    os.rename(own, own + ".away")
    os.symlink(name, own)
    stream(own, text)
    kept.close()


def covered(name, text):
    """A file of its own, with the other socket mounted over it."""
    own = tempfile.mkdtemp() + "/own"
    kept = listener(own)
    stream(own, b"to itself")
    if libc.unshare(0x10000000 | 0x00020000) or libc.mount(name.encode(), own.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "mount")
    stream(own, text)
    kept.close()


def mounted(name, text):
    """The other socket, mounted over the one that a rule names."""
    rule = name.replace("denied", "allowed")
    if libc.unshare(0x10000000 | 0x00020000):
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(name.encode(), rule.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "mount")
    stream(rule, text)


def chrooted(name, text):
    """Another root, in which a link has the name of the rule's socket."""
    root = tempfile.mkdtemp()
    rule = name.replace("denied", "allowed")
    os.makedirs(root + os.path.dirname(rule))
    os.link(name, root + rule) if os.stat(root).st_dev == os.stat(name).st_dev else os.symlink(name, root + rule)
    os.chroot(root)
    stream(rule, text)


def same_name(name, text):
    """A datagram socket of its own under the abstract name of the other's stream."""
    kept = listener(name, socket.SOCK_DGRAM)
    sendto(name, b"to itself")
    stream(name, text)
    kept.close()


def exchanged(name, text):
    """A name of its own that another thread exchanges with a link to the other, all the time; the socket is nobody else's."""
    folder = tempfile.mkdtemp()
    own, link = folder + "/own", folder + "/link"
    kept = listener(own)
    os.symlink(name, link)

    def swap():
        libc.prctl(PR_SET_PDEATHSIG, 9)
        while os.getppid() != 1:
            libc.renameat2(-100, own.encode(), -100, link.encode(), RENAME_EXCHANGE)

    swapper = os.fork()
    if not swapper:
        swap()
    threading.Thread(target=lambda: [kept.accept()[0].close() for _ in range(TRIES)], daemon=True).start()
    try:
        for _ in range(TRIES):
            try:
                stream(own, text)
            except OSError:
                pass
    finally:
        os.kill(swapper, 9)
    raise OSError(1, "nothing got through")


def own_path(name, text):
    folder = tempfile.mkdtemp()
    with listener(folder + "/a-socket-of-its-own") as made:
        stream(folder + "/a-socket-of-its-own", text)
        relative(folder + "/a-socket-of-its-own", text)
        dotted(folder + "/a-socket-of-its-own", text)
        os.chdir("/")
        os.rename(folder + "/a-socket-of-its-own", folder + "/moved")
        assert made.accept()[0].recv(99) == text
    with listener(folder + "/" + "n" * 80, socket.SOCK_DGRAM) as made:
        sendto(folder + "/" + "n" * 80, text)
        dgram(folder + "/" + "n" * 80, text)
        assert made.recv(99) == text


def own_before(name, text):
    """A socket that it had before the policy, which is there when the file of that name is. NAME.bound: it has the socket."""
    folder = tempfile.mkdtemp()
    made = listener(folder + "/own")
    print("ready", flush=True)
    open(name + ".bound", "w").close()
    while not os.path.exists(name) and os.path.exists(os.path.dirname(name)):
        time.sleep(0.01)
    stream(folder + "/own", text)
    assert made.accept()[0].recv(99) == text


def own_abstract(name, text):
    for each in ("\0of-its-own-" + str(os.getpid()), "\0" + "x" * 107):
        with listener(each) as made:
            stream(each, text)
            assert made.accept()[0].recv(99) == text
    left, right = socket.socketpair()
    left.send(text)
    assert right.recv(99) == text


way, name, text = sys.argv[1:4]
try:
    globals()[way](name_of(name), text.encode())
    print(0)
except OSError as error:
    print(error.errno)
