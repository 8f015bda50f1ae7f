/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A share of each ring for every sandbox, so that no storm takes the room of the others, whatever is told through it.
 *
 * A record is taken if its sandbox has no more unread bytes in the ring than the ring has free. So one sandbox alone fills half of a ring
 * and a record for each CPU at most, each further storm half of what is left, and whoever has nothing unread has room as long as there
 * is any. Nobody is counted or remembered for it: a storm that ends gives back what it had as it is read.
 *
 * What is unread of a sandbox is known from the ring's own positions, which tell what was read: a share remembers how many bytes it
 * put into each span, an eighth of the ring, and those in spans that are not read to their end count. That is never too little but
 * for records that are being written, and too much by what was read of the oldest span. A reader that dies changes nothing.
 */
#ifndef SLUICE_SHARE_BPF_H
#define SLUICE_SHARE_BPF_H

#include "maps.bpf.h"

#define SPAN_NUMBER_SHIFT 32

const struct sl_share no_share = {};

static __always_inline struct sl_ring_size *ring_size(const __u32 ring)
{
	__u32 key = ring;

	return bpf_map_lookup_elem(&sl_ring_sizes, &key);
}

/* NULL in a load that one sandbox has alone. */
static __always_inline struct sl_share *share_of(__u64 sandbox)
{
	struct sl_ring_size *size = ring_size(SL_RING_BULK);
	__u64 others = SL_SHARE_OTHERS;
	struct sl_share *share;

	if (!size || !size->bytes)
		return NULL;
	share = bpf_map_lookup_elem(&sl_shares, &sandbox);
	return share ? share : bpf_map_lookup_elem(&sl_shares, &others);
}

static __always_inline __u64 ring_query(const __u32 ring, __u64 what)
{
	return ring == SL_RING_PRIORITY ? bpf_ringbuf_query(&sl_ring_priority, what) : bpf_ringbuf_query(&sl_ring_bulk, what);
}

static __always_inline __u64 *span_at(struct sl_share *share, const __u32 ring, __u64 number)
{
	__u64 index = number & (SL_SPANS - 1);

	return &share->spans[ring * SL_SPANS + index];
}

/* Bytes of the spans from the one that is being read on. */
static __always_inline __u64 unread_of(struct sl_share *share, const __u32 ring, __u32 shift)
{
	__u64 number = ring_query(ring, BPF_RB_CONS_POS) >> (shift & 63);
	__u64 unread = 0;

#pragma unroll
	for (__u32 i = 0; i <= SL_SPANS_OF_RING; i++) {
		__u64 span = *(volatile __u64 *)span_at(share, ring, number);

		/* Times 1 for the number that was asked for, else 0: a branch would have the verifier go both ways each time. */
		unread += (__u32)span * (((span >> SPAN_NUMBER_SHIFT ^ (__u32)number) - 1) >> 63);
		number++;
		/* One after the other: all spans at once would need more of the stack than 6.1 has to spare here. */
		barrier_var(number);
		barrier_var(unread);
	}
	return unread;
}

static __always_inline bool has_room_in(struct sl_share *share, const __u32 ring)
{
	struct sl_ring_size *size;
	__u64 unread;

	if (!share)
		return true;
	size = ring_size(ring);
	if (!size)
		return true;
	unread = ring_query(ring, BPF_RB_AVAIL_DATA);
	/* Then nobody has more in it than is free. */
	if (unread <= size->bytes / 2)
		return true;
	return unread_of(share, ring, size->span_shift) <= size->bytes - unread;
}

static __always_inline void put_into_share(struct sl_share *share, const __u32 ring, __u32 bytes)
{
	__u64 number, before, *span;
	struct sl_ring_size *size;

	if (!share)
		return;
	size = ring_size(ring);
	if (!size)
		return;
	bytes = (bytes + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
	number = ring_query(ring, BPF_RB_PROD_POS) >> (size->span_shift & 63);
	span = span_at(share, ring, number);
	before = *(volatile __u64 *)span;
	/* Whoever comes first to a span begins it; the others find it begun, by its number or because the exchange fails. */
	if ((__s32)((__u32)number - (__u32)(before >> SPAN_NUMBER_SHIFT)) > 0 &&
	    __sync_val_compare_and_swap(span, before, (number << SPAN_NUMBER_SHIFT) + bytes) == before)
		return;
	__sync_fetch_and_add(span, bytes);
}

/* Global functions, one for each ring: the verifier goes through those that a program needs, once. */
__noinline int has_priority_room(struct sl_share *share)
{
	return has_room_in(share, SL_RING_PRIORITY);
}

__noinline int has_bulk_room(struct sl_share *share)
{
	return has_room_in(share, SL_RING_BULK);
}

__noinline int put_into_priority_share(struct sl_share *share, __u32 bytes)
{
	put_into_share(share, SL_RING_PRIORITY, bytes);
	return 0;
}

__noinline int put_into_bulk_share(struct sl_share *share, __u32 bytes)
{
	put_into_share(share, SL_RING_BULK, bytes);
	return 0;
}

/* Whether a sandbox may put one more record into the ring; NULL may. */
static __always_inline bool has_room(struct sl_share *share, const __u32 ring)
{
	return ring == SL_RING_PRIORITY ? has_priority_room(share) : has_bulk_room(share);
}

/* The same by the sandbox, for a hook in which each way that leads to a share would be one more way through all that follows. */
__noinline int has_priority_room_of(__u64 sandbox)
{
	return has_priority_room(share_of(sandbox));
}

#endif
