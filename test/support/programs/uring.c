// SPDX-License-Identifier: Apache-2.0
/*
 * Has io_uring do things, by raw calls: `uring all FOLDER PORT FLAGS SETUP` does one of each, every request with these sqe and ring
 * flags; `uring many FOLDER N` opens N files; `uring full FOLDER N` has N opens end in a ring that has no room to say so. Prints the
 * results. 77: no io_uring here.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	OP_CONNECT = 16,
	OP_OPENAT = 18,
	OP_SENDMSG = 9,
	OP_OPENAT2 = 28,
	OP_RENAMEAT = 35,
	OP_UNLINKAT = 36,
	OP_MKDIRAT = 37,
	OP_SYMLINKAT = 38,
	OP_LINKAT = 39,
	OP_SOCKET = 45,
	OP_BIND = 56,
	OP_LISTEN = 57
};
enum { ENTRIES = 64 };

struct ring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned setup;
};

static int ring_open(struct ring *ring, unsigned setup)
{
	struct io_uring_params p = {.flags = setup, .sq_thread_idle = 1000};
	char *sq, *cq;

	ring->fd = syscall(__NR_io_uring_setup, ENTRIES, &p);
	if (ring->fd < 0)
		return -errno;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
		  IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			  IORING_OFF_SQES);
	ring->sq_tail = (void *)(sq + p.sq_off.tail);
	ring->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring->sq_array = (void *)(sq + p.sq_off.array);
	ring->sq_flags = (void *)(sq + p.sq_off.flags);
	ring->cq_head = (void *)(cq + p.cq_off.head);
	ring->cq_tail = (void *)(cq + p.cq_off.tail);
	ring->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring->cqes = (void *)(cq + p.cq_off.cqes);
	ring->setup = setup;
	return 0;
}

static void put(struct ring *ring, struct io_uring_sqe sqe)
{
	unsigned tail = *ring->sq_tail, at = tail & *ring->sq_mask;

	ring->sqes[at] = sqe;
	ring->sq_array[at] = at;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static void enter(struct ring *ring, unsigned count, unsigned wait)
{
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;

	if (ring->setup & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	syscall(__NR_io_uring_enter, ring->fd, ring->setup & IORING_SETUP_SQPOLL ? 0 : count, wait, flags, NULL, 0);
}

static int result(struct ring *ring)
{
	unsigned head = *ring->cq_head;
	int res;

	while (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head)
		enter(ring, 0, 1);
	res = ring->cqes[head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

/* One request and its result. */
static int ask(struct ring *ring, struct io_uring_sqe sqe)
{
	int res;

	put(ring, sqe);
	enter(ring, 1, 1);
	res = result(ring);
	printf("%d ", res < 0 ? res : 0);
	return res;
}

static int all(const char *folder, int port, unsigned flags, unsigned setup)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in any = {.sin_family = AF_INET};
	struct iovec vec = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &vec, .msg_iovlen = 1};
	struct open_how_ {
		unsigned long long flags, mode, resolve;
	} how = {.flags = O_RDONLY};
	struct ring ring;
	int error = ring_open(&ring, setup), tcp, udp, listener;

	if (error)
		return error == -ENOSYS || error == -EPERM ? 77 : 1;
	to.sin_addr.s_addr = any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (chdir(folder))
		return 1;
#define ASK(...) ask(&ring, (struct io_uring_sqe){.flags = flags, __VA_ARGS__})
#define TEXT(s) ((unsigned long)(s))
	ASK(.opcode = OP_OPENAT, .fd = AT_FDCWD, .addr = TEXT("made"), .len = 0600, .open_flags = O_CREAT | O_WRONLY);
	ASK(.opcode = OP_OPENAT2, .fd = AT_FDCWD, .addr = TEXT("missing"), .len = sizeof(how), .off = TEXT(&how));
	ASK(.opcode = OP_MKDIRAT, .fd = AT_FDCWD, .addr = TEXT("dir"), .len = 0700);
	ASK(.opcode = OP_RENAMEAT, .fd = AT_FDCWD, .addr = TEXT("made"), .len = AT_FDCWD, .off = TEXT("renamed"));
	ASK(.opcode = OP_LINKAT, .fd = AT_FDCWD, .addr = TEXT("renamed"), .len = AT_FDCWD, .off = TEXT("linked"));
	ASK(.opcode = OP_SYMLINKAT, .fd = AT_FDCWD, .addr = TEXT("nowhere"), .off = TEXT("symlink"));
	ASK(.opcode = OP_UNLINKAT, .fd = AT_FDCWD, .addr = TEXT("renamed"));
	ASK(.opcode = OP_UNLINKAT, .fd = AT_FDCWD, .addr = TEXT("dir"), .unlink_flags = AT_REMOVEDIR);
	ASK(.opcode = OP_CONNECT, .fd = tcp, .addr = TEXT(&to), .off = sizeof(to));
	ASK(.opcode = OP_SENDMSG, .fd = udp, .addr = TEXT(&message), .len = 1);
	ASK(.opcode = OP_SOCKET, .fd = AF_INET, .off = SOCK_DGRAM);
	ASK(.opcode = OP_BIND, .fd = listener, .addr = TEXT(&any), .off = sizeof(any));
	ASK(.opcode = OP_LISTEN, .fd = listener, .len = 1);
	return 0;
}

static int many(const char *folder, int count)
{
	struct ring ring;
	char path[4096];
	int i;

	if (ring_open(&ring, 0))
		return 77;
	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/none-%d", folder, i);
		put(&ring, (struct io_uring_sqe){.opcode = OP_OPENAT, .fd = AT_FDCWD, .addr = TEXT(path)});
		enter(&ring, 1, 1);
		if (result(&ring) != -ENOENT)
			return 1;
	}
	return 0;
}

/* Linked, so that they end one after the other, or by themselves; nobody takes a result. */
static int full(const char *folder, int count, unsigned flags)
{
	char(*paths)[4096] = calloc(ENTRIES, sizeof(*paths));
	struct ring ring;
	int i, batch;

	if (ring_open(&ring, 0))
		return 77;
	for (i = 0; i < count; i += batch) {
		for (batch = 0; batch < ENTRIES && i + batch < count; batch++) {
			snprintf(paths[batch], sizeof(*paths), "%s/none-%d", folder, i + batch);
			put(&ring, (struct io_uring_sqe){
					   .opcode = OP_OPENAT, .flags = flags, .fd = AT_FDCWD, .addr = TEXT(paths[batch])});
		}
		enter(&ring, batch, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "all"))
		return all(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	if (argc == 4 && !strcmp(argv[1], "many"))
		return many(argv[2], atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "full"))
		return full(argv[2], atoi(argv[3]), atoi(argv[4]));
	return 2;
}
