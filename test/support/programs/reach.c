// SPDX-License-Identifier: Apache-2.0
/*
 * Tries to get bytes to an address, in the way that is named: `reach WAY ADDRESS PORT TOKEN [WAY ADDRESS PORT TOKEN …]`. Prints a line a
 * try: way, address, and the errno it ended with (0: nothing failed here; 1000: this machine does not have it). Whether the
 * bytes arrived is the receiver's to say.
 */
#define _GNU_SOURCE
#include "reach.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/icmp6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define IPPROTO_SCTP_ 132
#define IPPROTO_DCCP_ 33
#define IPPROTO_UDPLITE_ 136
#define IPPROTO_MPTCP_ 262
#define SOCK_DCCP_ 6
#define FAST_OPEN_CONNECT 30

static int connect_by(const struct target *to, int type, int protocol)
{
	int fd = bounded_socket(to->family, type, protocol);

	if (fd < 0)
		return errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT || errno == EAFNOSUPPORT ? NOT_HERE : errno;
	if (connect(fd, (void *)&to->addr, to->len))
		return errno;
	return say(fd, to->token);
}

static int tcp(const struct target *to)
{
	return connect_by(to, SOCK_STREAM, IPPROTO_TCP);
}

static int mptcp(const struct target *to)
{
	return connect_by(to, SOCK_STREAM, IPPROTO_MPTCP_);
}

static int sctp(const struct target *to)
{
	return connect_by(to, SOCK_STREAM, IPPROTO_SCTP_);
}

static int dccp(const struct target *to)
{
	return connect_by(to, SOCK_DCCP_, IPPROTO_DCCP_);
}

static int udp_connected(const struct target *to)
{
	return connect_by(to, SOCK_DGRAM, IPPROTO_UDP);
}

static int send_by(const struct target *to, int protocol)
{
	int fd = bounded_socket(to->family, SOCK_DGRAM, protocol);

	if (fd < 0)
		return errno == EPROTONOSUPPORT ? NOT_HERE : errno;
	return sendto(fd, to->token, strlen(to->token), 0, (void *)&to->addr, to->len) < 0 ? errno : 0;
}

static int udp_sendto(const struct target *to)
{
	return send_by(to, IPPROTO_UDP);
}

static int udplite(const struct target *to)
{
	return send_by(to, IPPROTO_UDPLITE_);
}

static int udp_message(const struct target *to, int many)
{
	struct iovec text = {.iov_base = (void *)to->token, .iov_len = strlen(to->token)};
	struct mmsghdr message = {.msg_hdr = {.msg_name = (void *)&to->addr, .msg_namelen = to->len, .msg_iov = &text, .msg_iovlen = 1}};
	int fd = bounded_socket(to->family, SOCK_DGRAM, IPPROTO_UDP);

	if (many)
		return sendmmsg(fd, &message, 1, 0) < 0 ? errno : 0;
	return sendmsg(fd, &message.msg_hdr, 0) < 0 ? errno : 0;
}

static int udp_sendmsg(const struct target *to)
{
	return udp_message(to, 0);
}

static int udp_sendmmsg(const struct target *to)
{
	return udp_message(to, 1);
}

/* A socket of IPv6 and an address of IPv4 inside IPv6. */
static void map(const struct target *to, struct target *ret_mapped)
{
	struct sockaddr_in6 *v6 = (void *)&ret_mapped->addr;
	const struct sockaddr_in *v4 = (const void *)&to->addr;

	*ret_mapped = *to;
	memset(v6, 0, sizeof(*v6));
	ret_mapped->family = v6->sin6_family = AF_INET6;
	ret_mapped->len = sizeof(*v6);
	v6->sin6_port = v4->sin_port;
	memset(&v6->sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&v6->sin6_addr.s6_addr[12], &v4->sin_addr, 4);
}

static int tcp_mapped(const struct target *to)
{
	struct target mapped;

	map(to, &mapped);
	return tcp(&mapped);
}

static int udp_mapped(const struct target *to)
{
	struct target mapped;

	map(to, &mapped);
	return udp_sendto(&mapped);
}

static int tfo_sendto(const struct target *to)
{
	int fd = bounded_socket(to->family, SOCK_STREAM, IPPROTO_TCP);

	if (sendto(fd, to->token, strlen(to->token), MSG_FASTOPEN, (void *)&to->addr, to->len) < 0)
		return errno;
	shutdown(fd, SHUT_WR);
	return 0;
}

static int tfo_option(const struct target *to)
{
	int fd = bounded_socket(to->family, SOCK_STREAM, IPPROTO_TCP), on = 1;

	if (setsockopt(fd, IPPROTO_TCP, FAST_OPEN_CONNECT, &on, sizeof(on)))
		return NOT_HERE;
	if (connect(fd, (void *)&to->addr, to->len))
		return errno;
	return say(fd, to->token);
}

/* A connected datagram socket that is pointed elsewhere. */
static int udp_reconnected(const struct target *to)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int fd = bounded_socket(to->family, SOCK_DGRAM, IPPROTO_UDP);

	connect(fd, (void *)&to->addr, to->len);
	connect(fd, &none, sizeof(none));
	if (connect(fd, (void *)&to->addr, to->len))
		return errno;
	return say(fd, to->token);
}

static unsigned short checksum(const unsigned char *bytes, int len)
{
	unsigned sum = 0;
	int i;

	for (i = 0; i + 1 < len; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	if (len & 1)
		sum += bytes[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static int echo_request(const struct target *to, unsigned char *packet)
{
	struct icmphdr *head = (void *)packet;
	int len = sizeof(*head) + strlen(to->token);

	memset(head, 0, sizeof(*head));
	head->type = to->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	memcpy(packet + sizeof(*head), to->token, strlen(to->token));
	if (to->family == AF_INET)
		head->checksum = checksum(packet, len);
	return len;
}

static int ping_by(const struct target *to, int type, int is_connected)
{
	int fd = socket(to->family, type, to->family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
	struct target portless = *to;
	unsigned char packet[256];
	int len;

	if (fd < 0)
		return errno == EACCES ? NOT_HERE : errno; /* net.ipv4.ping_group_range */
	((struct sockaddr_in *)&portless.addr)->sin_port = 0;
	len = echo_request(to, packet);
	if (is_connected) {
		if (connect(fd, (void *)&portless.addr, to->len))
			return errno;
		return send(fd, packet, len, 0) < 0 ? errno : 0;
	}
	return sendto(fd, packet, len, 0, (void *)&portless.addr, to->len) < 0 ? errno : 0;
}

static int ping(const struct target *to)
{
	return ping_by(to, SOCK_DGRAM, 0);
}

static int ping_connected(const struct target *to)
{
	return ping_by(to, SOCK_DGRAM, 1);
}

static int raw_icmp(const struct target *to)
{
	return ping_by(to, SOCK_RAW, 0);
}

/* A whole IPv4 packet of UDP. */
static int udp_packet(const struct target *to, unsigned char *packet)
{
	const struct sockaddr_in *v4 = (const void *)&to->addr;
	struct iphdr *ip = (void *)packet;
	struct udphdr *udp = (void *)(packet + sizeof(*ip));
	int text = strlen(to->token), len = sizeof(*ip) + sizeof(*udp) + text;
	const char *from = getenv("REACH_FROM");

	memset(packet, 0, sizeof(*ip) + sizeof(*udp));
	*ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(len), .daddr = v4->sin_addr.s_addr};
	if (from)
		inet_pton(AF_INET, from, &ip->saddr);
	ip->check = checksum(packet, sizeof(*ip));
	udp->source = htons(9);
	udp->dest = v4->sin_port;
	udp->len = htons(sizeof(*udp) + text);
	memcpy(packet + sizeof(*ip) + sizeof(*udp), to->token, text);
	return len;
}

static int raw_header(const struct target *to)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), len;
	unsigned char packet[512];

	if (fd < 0)
		return errno;
	len = udp_packet(to, packet);
	return sendto(fd, packet, len, 0, (void *)&to->addr, to->len) < 0 ? errno : 0;
}

static int packet_socket(const struct target *to)
{
	struct sockaddr_ll link = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = ETH_ALEN};
	const char *interface = getenv("REACH_INTERFACE");
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)), len;
	unsigned char packet[512];

	if (fd < 0)
		return errno;
	link.sll_ifindex = if_nametoindex(interface ? interface : "lo");
	memset(link.sll_addr, 0xff, ETH_ALEN);
	len = udp_packet(to, packet);
	return sendto(fd, packet, len, 0, (void *)&link, sizeof(link)) < 0 ? errno : 0;
}

static int vsock(const struct target *to)
{
	int fd = socket(40 /* AF_VSOCK */, SOCK_STREAM, 0);

	(void)to;
	return fd < 0 ? errno == EAFNOSUPPORT ? NOT_HERE : errno : 0;
}

/* Through the 32-bit entry of a 64-bit process. */
static int int80(const struct target *to)
{
	unsigned *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int fd = bounded_socket(to->family, SOCK_STREAM, IPPROTO_TCP);
	long ret;

	memcpy(low + 16, &to->addr, to->len);
	low[0] = fd;
	low[1] = (unsigned)(unsigned long)(low + 16);
	low[2] = to->len;
	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(102L /* socketcall */), "b"(3L /* SYS_CONNECT */), "c"((long)low), "d"(0L)
			 : "memory", "r8", "r9", "r10", "r11");
	if (ret)
		return (int)ret == -ENOSYS ? NOT_HERE : -(int)ret;
	return say(fd, to->token);
}

static int x32(const struct target *to)
{
	int fd = bounded_socket(to->family, SOCK_STREAM, IPPROTO_TCP);

	if (syscall(0x40000000 | SYS_connect, fd, &to->addr, to->len))
		return errno == ENOSYS ? NOT_HERE : errno;
	return say(fd, to->token);
}

/* By a socket that somebody else connected: standard input. */
static int inherited(const struct target *to)
{
	int err = 0, i;

	/* What the kernel still holds must not leave later. */
	for (i = 0; i < 3 && !err; i++) {
		if (send(0, to->token, strlen(to->token), MSG_NOSIGNAL) < 0)
			err = errno;
		usleep(300000);
	}
	return err;
}

static const struct {
	const char *name;
	int (*run)(const struct target *to);
} WAYS[] = {
	{"tcp", tcp},
	{"tcp-mapped", tcp_mapped},
	{"mptcp", mptcp},
	{"sctp", sctp},
	{"dccp", dccp},
	{"udp-connected", udp_connected},
	{"udp-reconnected", udp_reconnected},
	{"udp-sendto", udp_sendto},
	{"udp-sendmsg", udp_sendmsg},
	{"udp-sendmmsg", udp_sendmmsg},
	{"udp-mapped", udp_mapped},
	{"udplite", udplite},
	{"tfo-sendto", tfo_sendto},
	{"tfo-option", tfo_option},
	{"ping", ping},
	{"ping-connected", ping_connected},
	{"raw-icmp", raw_icmp},
	{"raw-header", raw_header},
	{"packet", packet_socket},
	{"vsock", vsock},
	{"int80", int80},
	{"x32", x32},
	{"inherited", inherited},
};

static int try_way(const char *way, const struct target *to)
{
	for (size_t i = 0; i < sizeof(WAYS) / sizeof(WAYS[0]); i++) {
		if (!strcmp(WAYS[i].name, way))
			return WAYS[i].run(to);
	}
	fprintf(stderr, "reach: no way %s\n", way);
	exit(2);
}

int main(int argc, char **argv)
{
	struct target to;

	for (int i = 1; i + 3 < argc; i += 4) {
		if (parse_target(&to, argv[i + 1], argv[i + 2], argv[i + 3]))
			return 2;
		printf("%s %s %d\n", argv[i], argv[i + 1], try_way(argv[i], &to));
		fflush(stdout);
	}
	return 0;
}
