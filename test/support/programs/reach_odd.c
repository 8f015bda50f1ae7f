// SPDX-License-Identifier: Apache-2.0
/*
 * Tries to get bytes to an address by options, flags and calls that change how or where a socket sends: `reach_odd WAY ADDRESS PORT TOKEN`.
 * Prints as reach does. Ways with a first hop (`via`) send to REACH_ALLOWED by way of the address.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <fcntl.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#define SOURCE_ROUTE 0x83 /* loose */
#define IPV6_FLOWINFO_SEND_ 33
#define HOP_PAD 1

static const char *wire(void)
{
	const char *name = getenv("REACH_INTERFACE");

	return name ? name : "lo";
}

static int udp_to(const struct target *to, int fd, int flags)
{
	return sendto(fd, to->token, strlen(to->token), flags, (void *)&to->addr, to->len) < 0 ? errno : 0;
}

static int udp(const struct target *to)
{
	return bounded_socket(to->family, SOCK_DGRAM, 0);
}

static int tcp(const struct target *to, int *ret_err)
{
	int fd = bounded_socket(to->family, SOCK_STREAM, 0);

	*ret_err = connect(fd, (void *)&to->addr, to->len) ? errno : 0;
	return fd;
}

static int by_option(const struct target *to, int level, int option, const void *value, socklen_t len)
{
	int fd = udp(to);

	if (setsockopt(fd, level, option, value, len))
		return errno == EPERM ? NOT_HERE : errno;
	return udp_to(to, fd, 0);
}

static int device(const struct target *to)
{
	return by_option(to, SOL_SOCKET, SO_BINDTODEVICE, wire(), strlen(wire()) + 1);
}

static int mark(const struct target *to)
{
	unsigned value = 7;

	return by_option(to, SOL_SOCKET, SO_MARK, &value, sizeof(value));
}

static int priority(const struct target *to)
{
	int value = 6;

	return by_option(to, SOL_SOCKET, SO_PRIORITY, &value, sizeof(value));
}

/* From an address that is nobody's here. */
static int transparent(const struct target *to)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.203.0.77")};
	int fd = udp(to), on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)))
		return NOT_HERE;
	if (bind(fd, (void *)&from, sizeof(from)))
		return errno;
	return udp_to(to, fd, 0);
}

static int with_control(const struct target *to, int level, int type, const void *value, size_t len)
{
	char control[256] = {0};
	struct iovec text = {.iov_base = (void *)to->token, .iov_len = strlen(to->token)};
	struct msghdr message = {
		.msg_name = (void *)&to->addr,
		.msg_namelen = to->len,
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(len),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = level;
	head->cmsg_type = type;
	head->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(head), value, len);
	return sendmsg(udp(to), &message, 0) < 0 ? errno : 0;
}

static int packet_info(const struct target *to)
{
	struct in_pktinfo info = {.ipi_ifindex = if_nametoindex(wire())};

	return with_control(to, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

/* To the allowed address, by way of the given one. */
static int source_route(const struct target *via, int is_message)
{
	struct sockaddr_in *hop = (void *)&via->addr;
	unsigned char option[8] = {SOURCE_ROUTE, 7, 4, 0, 0, 0, 0, 0};
	struct target to;
	int fd;

	memcpy(&option[3], &hop->sin_addr, 4);
	if (parse_target(&to, getenv("REACH_ALLOWED"), "0", via->token))
		return EINVAL;
	((struct sockaddr_in *)&to.addr)->sin_port = hop->sin_port;
	if (is_message)
		return with_control(&to, IPPROTO_IP, IP_RETOPTS, option, sizeof(option));
	fd = udp(&to);
	if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, option, sizeof(option)))
		return NOT_HERE;
	return udp_to(&to, fd, 0);
}

static int via_option(const struct target *to)
{
	return source_route(to, 0);
}

static int via_message(const struct target *to)
{
	return source_route(to, 1);
}

/* To the allowed address, by way of the given one: a segment routing header. */
static int via_header(const struct target *via)
{
	unsigned char header[40] = {0, 4, 4, 1, 1};
	struct target to;
	int err;

	memcpy(&header[24], &((struct sockaddr_in6 *)&via->addr)->sin6_addr, 16);
	if (parse_target(&to, getenv("REACH_ALLOWED6"), "0", via->token))
		return EINVAL;
	((struct sockaddr_in6 *)&to.addr)->sin6_port = ((struct sockaddr_in6 *)&via->addr)->sin6_port;
	err = with_control(&to, IPPROTO_IPV6, IPV6_RTHDR, header, sizeof(header));
	return err == EINVAL ? NOT_HERE : err;
}

static int hop_by_hop(const struct target *to)
{
	unsigned char header[8] = {0, 0, HOP_PAD, 4};

	return with_control(to, IPPROTO_IPV6, IPV6_HOPOPTS, header, sizeof(header));
}

static int destination_options(const struct target *to)
{
	unsigned char header[8] = {0, 0, HOP_PAD, 4};

	return with_control(to, IPPROTO_IPV6, IPV6_DSTOPTS, header, sizeof(header));
}

static int flow_label(const struct target *to)
{
	struct target labelled = *to;
	int fd = udp(to), on = 1;

	setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWINFO_SEND_, &on, sizeof(on));
	((struct sockaddr_in6 *)&labelled.addr)->sin6_flowinfo = htonl(0x0ff00000); /* a class and no label */
	return udp_to(&labelled, fd, 0);
}

static int confirm(const struct target *to)
{
	return udp_to(to, udp(to), MSG_CONFIRM | MSG_DONTWAIT);
}

static int dont_route(const struct target *to)
{
	return udp_to(to, udp(to), MSG_DONTROUTE);
}

static int broadcast(const struct target *to)
{
	int fd = udp(to), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	return udp_to(to, fd, 0);
}

static int multicast(const struct target *to)
{
	struct ip_mreqn by = {.imr_ifindex = if_nametoindex(wire())};
	int fd = udp(to), index = by.imr_ifindex;

	if (to->family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index));
	return udp_to(to, fd, 0);
}

/* What is held back for more goes where it was to go first; the rest of it names the address. */
static int corked(const struct target *to)
{
	struct target first;
	int fd, err;

	if (parse_target(&first, getenv("REACH_ALLOWED"), "7000", to->token))
		return EINVAL;
	fd = udp(to);
	err = udp_to(&first, fd, MSG_MORE);
	return err ? err : udp_to(to, fd, 0);
}

/* Held back for the allowed address; then the socket is pointed to the other. */
static int corked_connect(const struct target *to)
{
	struct target first;
	int fd = udp(to), off = 0, on = 1, err;

	if (parse_target(&first, getenv("REACH_ALLOWED"), "7000", to->token))
		return EINVAL;
	setsockopt(fd, IPPROTO_UDP, UDP_CORK, &on, sizeof(on));
	err = udp_to(&first, fd, 0);
	if (!err)
		err = connect(fd, (void *)&to->addr, to->len) ? errno : 0;
	setsockopt(fd, IPPROTO_UDP, UDP_CORK, &off, sizeof(off));
	return err;
}

static int urgent(const struct target *to)
{
	int err, fd = tcp(to, &err);

	if (!err && send(fd, to->token, strlen(to->token), 0) < 0)
		err = errno;
	if (!err && send(fd, "!", 1, MSG_OOB) < 0)
		err = errno;
	return err;
}

/* The bytes come from a pipe. */
static int piped(const struct target *to, int connected, int is_stream)
{
	int pipes[2], more[2], err = 0, fd = connected;
	struct iovec text = {.iov_base = (void *)to->token, .iov_len = strlen(to->token)};

	if (!is_stream) {
		fd = udp(to);
		if (connect(fd, (void *)&to->addr, to->len))
			return errno;
	}
	if (pipe(pipes) || pipe(more) || vmsplice(pipes[1], &text, 1, 0) < 0 || tee(pipes[0], more[1], 1024, 0) < 0)
		return errno;
	if (splice(more[0], NULL, fd, NULL, 1024, 0) < 0)
		err = errno;
	return err;
}

static int splice_tcp(const struct target *to)
{
	int err, fd = tcp(to, &err);

	return err ? err : piped(to, fd, 1);
}

static int splice_udp(const struct target *to)
{
	return piped(to, -1, 0);
}

static int send_file(const struct target *to)
{
	int err, fd = tcp(to, &err), file = memfd_create("text", 0);
	off_t from = 0;

	if (err)
		return err;
	if (write(file, to->token, strlen(to->token)) < 0)
		return errno;
	return sendfile(fd, file, &from, strlen(to->token)) < 0 ? errno : 0;
}

/* With the kernel's own TLS on top, which the connection has to be there for. */
static int kernel_tls(const struct target *to)
{
	int err, fd = tcp(to, &err);

	if (err)
		return err;
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3))
		return NOT_HERE;
	return say(fd, to->token);
}

static int zero_copy(const struct target *to)
{
	int err, fd = tcp(to, &err), on = 1;

	if (err)
		return err;
	setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on));
	return send(fd, to->token, strlen(to->token), MSG_ZEROCOPY) < 0 ? errno : 0;
}

/* Connected elsewhere first; taken back; connected anew. */
static int disconnected(const struct target *to)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct target first;
	int err, fd;

	if (parse_target(&first, getenv("REACH_ALLOWED"), "7000", to->token))
		return EINVAL;
	fd = tcp(&first, &err);
	if (err)
		return err;
	if (connect(fd, &none, sizeof(none)) || connect(fd, (void *)&to->addr, to->len))
		return errno;
	return say(fd, to->token);
}

/* Many segments from one call. */
static int segmented(const struct target *to)
{
	int size = 4;

	return by_option(to, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size));
}

static const struct {
	const char *name;
	int (*run)(const struct target *to);
} WAYS[] = {
	{"device", device},
	{"mark", mark},
	{"priority", priority},
	{"transparent", transparent},
	{"packet-info", packet_info},
	{"via-option", via_option},
	{"via-message", via_message},
	{"via-header", via_header},
	{"hop-by-hop", hop_by_hop},
	{"destination-options", destination_options},
	{"flow-label", flow_label},
	{"confirm", confirm},
	{"dont-route", dont_route},
	{"broadcast", broadcast},
	{"multicast", multicast},
	{"corked", corked},
	{"corked-connect", corked_connect},
	{"urgent", urgent},
	{"splice-tcp", splice_tcp},
	{"splice-udp", splice_udp},
	{"send-file", send_file},
	{"kernel-tls", kernel_tls},
	{"zero-copy", zero_copy},
	{"disconnected", disconnected},
	{"segmented", segmented},
};

int main(int argc, char **argv)
{
	struct target to;

	if (argc != 5 || parse_target(&to, argv[2], argv[3], argv[4]))
		return 2;
	for (size_t i = 0; i < sizeof(WAYS) / sizeof(WAYS[0]); i++) {
		if (!strcmp(WAYS[i].name, argv[1])) {
			printf("%s %s %d\n", argv[1], argv[2], WAYS[i].run(&to));
			return 0;
		}
	}
	return 2;
}
