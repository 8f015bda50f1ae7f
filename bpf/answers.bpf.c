// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Answers to names, read as they come in where nothing is redirected: a copy of what arrives from port 53 at a socket by which a task of
 * ours asked. Nothing is changed and nobody is refused; what it means is read in user space. A packet of anybody else's socket pays one
 * look-up. Answers that come in pieces (fragments, TCP segments out of order) are told as they come.
 */
#include "answers.bpf.h"

#define PASS 1
#define IP_HEADER_MIN 20
#define IP6_HEADER 40
#define UDP_HEADER 8
#define TCP_OFFSET_AT 12
#define TCP_SEQ_AT 4
#define TOO_SMALL (-2)

struct arrival {
	__u8 from[16];
	__u64 cookie;
	__u32 at; /* of the payload, from the network header */
	__u32 bytes; /* of it */
	__u32 seq; /* TCP */
	__u16 local_port;
	__u8 protocol;
	__u8 pad;
};

static __always_inline bool read_addresses(struct __sk_buff *skb, struct arrival *arrival)
{
	__u8 head[IP6_HEADER] = {};
	__u32 address;

	if (bpf_skb_load_bytes_relative(skb, 0, head, IP_HEADER_MIN, BPF_HDR_START_NET))
		return false;
	if (head[0] >> 4 == 4) {
		__builtin_memcpy(&address, &head[12], sizeof(address));
		put_ip4(arrival->from, address);
		arrival->protocol = head[9];
		arrival->at = (head[0] & 0xf) * 4;
		return true;
	}
	if (bpf_skb_load_bytes_relative(skb, 0, head, IP6_HEADER, BPF_HDR_START_NET))
		return false;
	__builtin_memcpy(arrival->from, &head[8], sizeof(arrival->from));
	arrival->protocol = head[6];
	arrival->at = IP6_HEADER;
	return true;
}

/* False: it is not from port 53, or carries nothing. */
static __always_inline bool read_arrival(struct __sk_buff *skb, struct arrival *arrival)
{
	__be16 ports[2] = {};
	__be32 seq = 0;
	__u8 offset = 0;
	__u32 header = UDP_HEADER;

	if (!read_addresses(skb, arrival) ||
	    bpf_skb_load_bytes_relative(skb, arrival->at, ports, sizeof(ports), BPF_HDR_START_NET))
		return false;
	if (ports[0] != bpf_htons(DNS_PORT))
		return false;
	arrival->local_port = bpf_ntohs(ports[1]);
	if (arrival->protocol == IPPROTO_TCP) {
		if (bpf_skb_load_bytes_relative(skb, arrival->at + TCP_OFFSET_AT, &offset, sizeof(offset), BPF_HDR_START_NET) ||
		    bpf_skb_load_bytes_relative(skb, arrival->at + TCP_SEQ_AT, &seq, sizeof(seq), BPF_HDR_START_NET))
			return false;
		header = (offset >> 4) * 4;
		arrival->seq = bpf_ntohl(seq);
	} else if (arrival->protocol != IPPROTO_UDP) {
		return false;
	}
	arrival->at += header;
	if (skb->len <= arrival->at)
		return false;
	arrival->bytes = skb->len - arrival->at;
	return true;
}

/* One body for each size: a reservation needs a constant one. 0, TOO_SMALL, or -1 where there is no room. */
static __always_inline int tell_answer(struct __sk_buff *skb, const struct sl_event_hdr *owner, const struct arrival *arrival,
				       __u64 seq, const __u32 max)
{
	__u32 len = arrival->bytes, last;
	struct sl_dns *rec;

	if (max < SL_DNS_MAX && len > max)
		return TOO_SMALL;
	if (len > max)
		len = max;
	rec = bpf_ringbuf_reserve(&sl_ring_bulk, sizeof(*rec) + max, 0);
	if (!rec)
		return -1;
	/* By what is one less the verifier sees that it is never none. */
	last = len - 1;
	barrier_var(last);
	/* Unlike the relative one this reads what is not in the packet's first piece too; here it begins at the network header. */
	if (last >= max || bpf_skb_load_bytes(skb, arrival->at, rec->data, last + 1))
		len = 0;
	rec->hdr = *owner;
	rec->hdr.cpu = bpf_get_smp_processor_id();
	rec->hdr.size = sizeof(*rec) + len;
	rec->hdr.cpu_seq = seq;
	rec->hdr.time_ns = bpf_ktime_get_boot_ns();
	rec->cookie = arrival->cookie;
	__builtin_memcpy(rec->resolver, arrival->from, sizeof(rec->resolver));
	rec->tcp_seq = arrival->seq;
	rec->bytes = arrival->bytes;
	rec->len = len;
	rec->local_port = arrival->local_port;
	rec->protocol = arrival->protocol;
	rec->pad = 0;
	bpf_ringbuf_submit(rec, 0);
	return sizeof(*rec) + max;
}

SEC("cgroup_skb/ingress")
int sl_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct arrival arrival = {};
	struct sl_event_hdr *owner;
	struct sl_counters *count;
	struct sl_share *share;
	int bytes = -1;
	__u64 seq;

	if (!sk)
		return PASS;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return PASS;
	owner = bpf_sk_storage_get(&sl_asked, sk, 0, 0);
	if (!owner || !read_arrival(skb, &arrival))
		return PASS;
	count = counters();
	if (!count)
		return PASS;
	arrival.cookie = bpf_get_socket_cookie(skb);
	share = share_of(owner->sandbox);
	seq = count_attempt(count, SL_KIND_DNS);
	if (has_room(share, SL_RING_BULK)) {
		bytes = tell_answer(skb, owner, &arrival, seq, SL_DNS_USUAL);
		if (bytes == TOO_SMALL)
			bytes = tell_answer(skb, owner, &arrival, seq, SL_DNS_MAX);
	}
	if (bytes < 0)
		count_dropped(share, SL_KIND_DNS);
	else
		count_told(share, SL_KIND_DNS, SL_RING_BULK, bytes);
	return PASS;
}
