/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Values of the BPF maps that hold policies and leases. User space writes them, the kernel side reads. Offsets for TypeScript
 * are generated, as of map_abi.h.
 */
#ifndef SLUICE_POLICY_ABI_H
#define SLUICE_POLICY_ABI_H

#include "event_abi.h"

#define SL_GENERATION_HELD 0xffffffffu /* of an entry with SL_POLICY_HELD, and of no policy */
#define SL_POLICIES_MAX 16384u /* entries of sl_policies and of sl_sandbox_policies */
#define SL_PORTS_MAX 8u /* port ranges of one prefix */
#define SL_LEASES_MAX 131072u /* addresses with leases, of all sandboxes */
#define SL_LEASE_PORTS_MAX 16u /* port ranges leased to one sandbox at one address */
#define SL_PROGRAMS_MAX 65536u /* entries of sl_programs */
#define SL_UNIX_RULES_MAX 65536u /* entries of sl_unix_rules */
#define SL_UNIX_NAME_MAX 108u /* sun_path of struct sockaddr_un */
#define SL_UNIX_BOUND_MAX 131072u /* entries of sl_unix_bound */
#define SL_UNIX_SLOTS 1024u /* of those, for one sandbox */
#define SL_UNIX_WAYS 4u /* slots that one name can be in */
#define SL_LENT_MAX 65536u /* entries of sl_lent; one more is not let in */
#define SL_LENT_OF_ONE 4096u /* of those, for one sandbox */

enum sl_verdict {
	SL_VERDICT_NONE = 0, /* nobody judged it */
	SL_VERDICT_ALLOW = 1,
	SL_VERDICT_DENY = 2,
	SL_VERDICT_WOULD_DENY = 3,
	SL_VERDICT_REDIRECT = 4, /* to the gateway */
};

/* Why a verdict is what it is. */
enum sl_why {
	SL_WHY_NO_POLICY = 0,
	SL_WHY_RULE = 1, /* a rule for addresses */
	SL_WHY_LEASE = 2, /* a rule for names, by a lease */
	SL_WHY_DEFAULT = 3, /* no rule allows it; `rule` is 0 then, as with all that follow */
	SL_WHY_LISTENER =
		4, /* loopback, to a socket that the policy's listeners are about; or an answer to who came by loopback */
	SL_WHY_PROTOCOL = 5, /* a family or protocol that no rule can allow */
	SL_WHY_STATE = 6, /* what is needed to tell is missing */
	SL_WHY_QUARANTINE = 7,
	SL_WHY_GATEWAY = 8, /* it is for the gateway, which gets it or is not there; or it is a port of the gateway's */
	SL_WHY_UNIX = 9, /* a Unix socket that is neither the sandbox's own nor named by a rule */
	SL_WHY_MADE = 10, /* a socket was made: where it leads to is judged when it is used */
	SL_WHY_PROGRAM = 12, /* `rule` allows it to other programs than the one that asks */
	SL_WHY_HELD = 13, /* its policy is not there yet */
	SL_WHY_CONNECTS = 20, /* more than the sandbox's limit lets through, of connects */
	SL_WHY_CONNECTIONS = 21, /* of connections open at once */
	SL_WHY_THROTTLE = 22, /* of whatever it was throttled to */
	SL_WHY_BYTES = 23, /* all that it may send is sent */
};

enum sl_policy_flag {
	SL_POLICY_ENFORCED = 1u << 0, /* else what it denies is told and let through */
	SL_POLICY_OWN_LISTENERS = 1u << 1, /* loopback leads to sockets of the sandbox itself without a rule */
	SL_POLICY_ANY_LISTENERS = 1u << 2, /* loopback leads to anybody's */
	SL_POLICY_HELD = 1u << 3, /* the kernel side wrote it: whose policy it is to be in place of is not there yet */
	SL_POLICY_LIMITED = 1u << 8, /* it has limits: without an entry in sl_limits what they would be about is denied */
};

/* sl_policy_state: array of one. While `policed` is 0 nobody is judged, and no hook looks further. */
struct sl_policy_state {
	__u32 policed; /* 1 = sl_sandbox_policies has an entry */
	__u32 pad;
};

/*
 * sl_sandbox_policies: hash, key __u64 sandbox. What is written by one update holds as a whole from then on. Written by user space, but for
 * the sandboxes that the kernel side holds from the start (struct sl_watch). Without an entry a sandbox has no policy; an entry whose policy is missing denies everything. The kernel gives the memory of an entry that was replaced to the next
 * one at once: who reads knows by the sandbox on both sides that all of it is one sandbox's.
 */
struct sl_sandbox_policy {
	__u64 sandbox; /* the key again */
	__u32 policy; /* key of sl_policies; never 0 */
	__u32 generation; /* new with each policy that the sandbox gets; never 0 */
	__u32 flags; /* enum sl_policy_flag */
	__u32 pad;
	__u64 sandbox_again;
};

/* sl_policies: hash of LPM tries by __u32 policy. The key of such a trie, and its value: all that holds for the prefix. */
struct sl_net_key {
	__u32 prefix_length; /* 0..128 */
	__u8 addr[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct sl_ports {
	__u32 rule;
	__u16 first; /* host order */
	__u16 last; /* inclusive */
	__u8 protocol; /* IPPROTO_*; ICMPv6 counts as ICMP; 0 = any, those included that no rule can allow */
	__u8 deny; /* 1: goes before all that allows */
	__u16 programs; /* number of a set in sl_programs; 0 = for every program */
};

struct sl_net {
	struct sl_ports ports[SL_PORTS_MAX];
	__u32 count;
};

/* sl_leases: hash. */
struct sl_lease_key {
	__u64 sandbox;
	__u8 addr[16];
};

struct sl_lease {
	__u64 expires_ns; /* CLOCK_BOOTTIME */
	__u32 rule;
	__u32 generation; /* of the sandbox's policy: it holds in no other */
	__u16 first;
	__u16 last;
	__u16 programs; /* as sl_ports */
	__u8 protocol;
	__u8 pad;
};

struct sl_leases {
	struct sl_lease leases[SL_LEASE_PORTS_MAX];
	__u32 count;
	__u32 pad;
};

/*
 * sl_programs: hash, value __u32 number of the rule that names it; 0 = the rule that has the set. Which files are meant by the sets of
 * programs that a policy's rules are for.
 */
struct sl_program_key {
	struct sl_program program;
	__u32 generation; /* of a sandbox's policy */
	__u32 set;
};

/* sl_unix_rules: hash, value __u32 number of the rule. The Unix sockets that a policy allows, by the name that is connected to. */
struct sl_unix_key {
	__u32 generation; /* of a sandbox's policy */
	__u32 len; /* of the name: a path without its NUL; an abstract name begins with a NUL and has as many bytes as it was given */
	__u8 name[SL_UNIX_NAME_MAX]; /* zero behind its end */
};

/*
 * sl_unix_bound: hash. Unix sockets that a sandbox gave a name, found again by a hash of the name's end. Written by the kernel side; an
 * entry whose socket is gone is nobody's, and is taken by the next name that comes to its place.
 */
struct sl_unix_slot {
	__u64 sandbox;
	__u32 slot; /* below SL_UNIX_SLOTS */
	__u32 pad;
};

struct sl_unix_bound {
	__u64 sock; /* the kernel's address of it: another socket can be there later */
	__u64 inode; /* of the socket, in the file system of sockets: which tells them apart */
};

/*
 * sl_lent: hash by the address of the kernel's socket. Sockets of somebody else's that came into a sandbox, until their first packet. Written
 * by the kernel side; sl_lent_counts has how many each sandbox has there. What is left of sandboxes that are over, user space removes.
 */
struct sl_lent {
	struct sl_event_hdr owner; /* the task that it came to */
	__u64 inode; /* of the socket's file: another socket may have the address later */
};

_Static_assert(sizeof(struct sl_program_key) == 32, "sl_program_key");
_Static_assert(sizeof(struct sl_unix_key) == 116, "sl_unix_key");
_Static_assert(sizeof(struct sl_unix_slot) == 16, "sl_unix_slot");
_Static_assert(sizeof(struct sl_unix_bound) == 16, "sl_unix_bound");
_Static_assert(sizeof(struct sl_policy_state) == 8, "sl_policy_state");
_Static_assert(sizeof(struct sl_sandbox_policy) == 32, "sl_sandbox_policy");
_Static_assert(sizeof(struct sl_net_key) == 20, "sl_net_key");
_Static_assert(sizeof(struct sl_ports) == 12, "sl_ports");
_Static_assert(sizeof(struct sl_net) == 12 * 8 + 4, "sl_net");
_Static_assert(sizeof(struct sl_lease_key) == 24, "sl_lease_key");
_Static_assert(sizeof(struct sl_lease) == 24, "sl_lease");
_Static_assert(sizeof(struct sl_leases) == 24 * 16 + 8, "sl_leases");

#endif
