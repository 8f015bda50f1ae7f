// SPDX-License-Identifier: Apache-2.0
/*
 * Has io_uring connect or send: `reach_uring WAY ADDRESS PORT TOKEN`. Ways: connect, connect-async (by a worker thread), connect-poll (by a
 * polling thread), connect-orphan (by a worker, when the process's first thread is gone), connect-fixed (a socket that the ring alone
 * has), connect-linked (behind another request), sendmsg, send-to (with its address beside it), send-zc (without a copy of the bytes);
 * packet, packet-by-type (as an Internet socket of the type that the kernel takes for one), vsock (has it make such a socket). ADDRESS is a Unix socket's where it begins with / or @ (an abstract name), and PORT nothing. Prints
 * as reach does.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define OP_NOP 0
#define OP_SENDMSG 9
#define OP_CONNECT 16
#define OP_SEND 26
#define OP_SOCKET 45
#define OP_SEND_ZC 47
#define ENTRIES 4

struct ring {
	int fd;
	unsigned *tail, *array, *flags;
	unsigned *head, *done;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned setup;
};

static int ring_open(struct ring *ring, unsigned setup)
{
	struct io_uring_params p = {.flags = setup, .sq_thread_idle = 2000};
	char *sq, *cq;

	ring->setup = setup;
	ring->fd = syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (ring->fd < 0)
		return errno == EPERM ? EPERM : NOT_HERE;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		  IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			  IORING_OFF_SQES);
	ring->tail = (void *)(sq + p.sq_off.tail);
	ring->array = (void *)(sq + p.sq_off.array);
	ring->flags = (void *)(sq + p.sq_off.flags);
	ring->head = (void *)(cq + p.cq_off.head);
	ring->done = (void *)(cq + p.cq_off.tail);
	ring->cqes = (void *)(cq + p.cq_off.cqes);
	return 0;
}

/* Requests, from their submission to the result of the last: a negative errno or what it gave. */
static int ring_do(struct ring *ring, const struct io_uring_sqe *sqes, unsigned count)
{
	unsigned flags = IORING_ENTER_GETEVENTS | (ring->setup & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0);
	unsigned done = *ring->head + count;
	int tries = 0;

	for (unsigned i = 0; i < count; i++) {
		ring->sqes[i] = sqes[i];
		ring->array[(*ring->tail + i) % ENTRIES] = i;
	}
	__atomic_store_n(ring->tail, *ring->tail + count, __ATOMIC_RELEASE);
	syscall(SYS_io_uring_enter, ring->fd, count, count, flags, NULL, 0);
	while ((int)(done - __atomic_load_n(ring->done, __ATOMIC_ACQUIRE)) > 0 && tries++ < 2000)
		usleep(1000);
	return tries > 2000 ? -ETIMEDOUT : ring->cqes[count - 1].res;
}

struct attempt {
	struct target to;
	const char *way;
	const char *address;
};

static int is(const struct attempt *attempt, const char *way)
{
	return !strcmp(attempt->way, way);
}

static int make_socket(const struct attempt *attempt, struct ring *ring)
{
	struct io_uring_sqe sqe = {.opcode = OP_SOCKET, .fd = AF_VSOCK, .off = SOCK_STREAM};
	int result;

	if (is(attempt, "packet")) {
		sqe.fd = AF_PACKET;
		sqe.off = SOCK_DGRAM;
	} else if (is(attempt, "packet-by-type")) {
		sqe.fd = AF_INET;
		sqe.off = SOCK_PACKET;
	}
	result = ring_do(ring, &sqe, 1);
	return result == -EINVAL || result == -EAFNOSUPPORT ? NOT_HERE : result < 0 ? -result : 0;
}

static int do_send(const struct attempt *attempt, struct ring *ring)
{
	const struct target *to = &attempt->to;
	struct iovec text = {.iov_base = (void *)to->token, .iov_len = strlen(to->token)};
	struct msghdr message = {.msg_name = (void *)&to->addr, .msg_namelen = to->len, .msg_iov = &text, .msg_iovlen = 1};
	struct io_uring_sqe sqe = {.opcode = OP_SENDMSG, .addr = (unsigned long)&message, .len = 1};
	int result;

	sqe.fd = bounded_socket(to->family, SOCK_DGRAM, 0);
	if (!is(attempt, "sendmsg")) {
		sqe.opcode = is(attempt, "send-zc") ? OP_SEND_ZC : OP_SEND;
		sqe.addr = (unsigned long)to->token;
		sqe.len = strlen(to->token);
		sqe.off = (unsigned long)&to->addr; /* addr2 */
		sqe.file_index = to->len; /* addr_len, the lower half */
	}
	result = ring_do(ring, &sqe, 1);
	/* Before 6.0 a send has no address. */
	return result == -EINVAL || result == -EDESTADDRREQ ? NOT_HERE : result < 0 ? -result : 0;
}

static int do_connect(const struct attempt *attempt, struct ring *ring)
{
	const struct target *to = &attempt->to;
	struct io_uring_sqe sqes[2] = {{.opcode = OP_NOP, .flags = IOSQE_IO_LINK}, {.opcode = OP_CONNECT}};
	unsigned count = is(attempt, "connect-linked") ? 2 : 1;
	int fd = bounded_socket(to->family, SOCK_STREAM, 0), result;
	struct io_uring_sqe *sqe = &sqes[1];

	sqe->fd = fd;
	sqe->addr = (unsigned long)&to->addr;
	sqe->off = to->len;
	if (is(attempt, "connect-async") || is(attempt, "connect-orphan"))
		sqe->flags = IOSQE_ASYNC;
	if (is(attempt, "connect-fixed")) {
		if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_FILES, &fd, 1))
			return NOT_HERE;
		sqe->fd = 0;
		sqe->flags = IOSQE_FIXED_FILE;
	}
	result = ring_do(ring, count == 2 ? sqes : sqe, count);
	return result < 0 ? -result : say(fd, to->token);
}

static int run(const struct attempt *attempt)
{
	struct ring ring;
	int err = ring_open(&ring, is(attempt, "connect-poll") ? IORING_SETUP_SQPOLL : 0);

	if (err)
		return err;
	if (!strncmp(attempt->way, "packet", 6) || is(attempt, "vsock"))
		return make_socket(attempt, &ring);
	return strncmp(attempt->way, "connect", 7) ? do_send(attempt, &ring) : do_connect(attempt, &ring);
}

static void *run_alone(void *given)
{
	struct attempt *attempt = given;

	usleep(200000); /* the first thread is gone by then */
	printf("%s %s %d\n", attempt->way, attempt->address, run(attempt));
	fflush(stdout);
	_exit(0);
}

static int parse_unix(struct target *to, const char *name, const char *token)
{
	struct sockaddr_un *addr = (void *)&to->addr;

	if ((*name != '/' && *name != '@') || strlen(name) >= sizeof(addr->sun_path))
		return -1;
	to->family = addr->sun_family = AF_UNIX;
	to->token = token;
	to->len = offsetof(struct sockaddr_un, sun_path) + strlen(name);
	memcpy(addr->sun_path, name, strlen(name));
	if (*name == '@')
		addr->sun_path[0] = 0;
	return 0;
}

int main(int argc, char **argv)
{
	static struct attempt attempt;
	pthread_t thread;

	if (argc != 5)
		return 2;
	if (parse_unix(&attempt.to, argv[2], argv[4]) && parse_target(&attempt.to, argv[2], argv[3], argv[4]))
		return 2;
	attempt.way = argv[1];
	attempt.address = argv[2];
	if (is(&attempt, "connect-orphan")) {
		pthread_create(&thread, NULL, run_alone, &attempt);
		pthread_exit(NULL);
	}
	printf("%s %s %d\n", argv[1], argv[2], run(&attempt));
	return 0;
}
