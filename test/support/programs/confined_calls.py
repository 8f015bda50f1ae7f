"""Makes calls that a command under a policy is refused, and tells the errno of each; 0 if it was carried out."""
import ctypes
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    ctypes.set_errno(0)
    return 0 if libc.syscall(number, *arguments) >= 0 else ctypes.get_errno()


def made(family, kind=socket.SOCK_DGRAM):
    try:
        socket.socket(family, kind).close()
        return 0
    except OSError as error:
        return error.errno


def signalled(pid):
    try:
        os.kill(pid, 0)
        return 0
    except OSError as error:
        return error.errno


def opened(path, flags):
    try:
        os.close(os.open(path, flags))
        return 0
    except OSError as error:
        return error.errno


def by_child(body):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(body())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


outside, socket_file = int(sys.argv[1]), sys.argv[2]
params = ctypes.create_string_buffer(120)
print("io_uring", call(425, 1, params))
print("vsock", made(40, socket.SOCK_STREAM))
print("netlink", made(16, socket.SOCK_RAW))
print("inet", made(socket.AF_INET))
print("user namespace mount", call(272, 0x10020000) or call(165, b"none", b"/mnt", b"tmpfs", 0, None))
print("seize", call(101, 0x4206, outside, 0, 0))
print("request_key", call(249, b"user", b"nobody-has-it", None, 0))
print("add_key", call(248, b"user", b"of-a-test", b"x", 1, -2))
print("pidfd_getfd", call(438, call(434, outside, 0) and -1, 0, 0))
print("traced by its parent", by_child(lambda: call(101, 0, 0, 0, 0)))
print("writes its memory", opened("/proc/self/mem", os.O_RDWR))
print("writes another's memory", by_child(lambda: opened("/proc/%d/mem" % os.getppid(), os.O_WRONLY)))
print("reads its state", opened("/proc/self/status", os.O_RDONLY))
print("writes a file", opened("/dev/null", os.O_WRONLY))
print("signal outside", signalled(outside))
print("signal itself", signalled(os.getpid()))
print("is a socket", int(os.path.exists(socket_file) and __import__("stat").S_ISSOCK(os.stat(socket_file).st_mode)))
