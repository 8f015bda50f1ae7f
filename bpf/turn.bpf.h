/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which load of the programs acts on an event. While one load hands over to the next (src/sensor/hand-over.ts) both are attached, the
 * earlier one first, and every event comes by both, one after the other. The earlier one reads who is to act, once, and leaves that
 * where the later one finds it; the later one believes what was left and not what it would read itself. So each event is acted on
 * exactly once, whenever the hand-over falls.
 *
 * A hook says so first of all. A load that is alone for good (a run's own) has generation 0, and the verifier takes all of this away.
 */
#ifndef SLUICE_TURN_BPF_H
#define SLUICE_TURN_BPF_H

#include "maps.bpf.h"

/* Of this load, set before it. */
const volatile __u32 sl_generation = 0;

enum turn_hook {
	TURN_FORK,
	TURN_EXEC,
	TURN_EXIT,
	TURN_CGROUP_MKDIR,
	TURN_CGROUP_RMDIR,
	TURN_CGROUP_ATTACH,
	TURN_TCP_STATE,
	TURN_HOOKS,
};

struct turns {
	__u32 turn[TURN_HOOKS];
};

/* Of each CPU and hook: the generation that acts on what the hook is just called for. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct turns);
} sl_turns SEC(".maps");

/* `turn`: where the earlier one leaves it; the same for both, and nobody else's meanwhile. */
static __always_inline bool take_turn(__u32 *turn)
{
	struct sl_control *control;
	__u32 zero = 0, active, previous;

	control = bpf_map_lookup_elem(&sl_control, &zero);
	if (!control)
		return false;
	previous = *(volatile __u32 *)&control->previous;
	if (previous && previous != sl_generation)
		return *turn == sl_generation;
	active = *(volatile __u32 *)&control->active;
	if (previous)
		*turn = active;
	return active == sl_generation;
}

/* For a hook that can't be preempted between two of its programs: all but sys_exit. */
static __always_inline bool is_our_turn(enum turn_hook hook)
{
	struct turns *turns;
	__u32 zero = 0;

	if (!sl_generation)
		return true;
	turns = bpf_map_lookup_elem(&sl_turns, &zero);
	return turns && take_turn(&turns->turn[hook]);
}

/* For sys_exit, which on preemptible kernels can (since 6.13): the current task carries it from one program to the other. */
static __always_inline bool is_our_turn_for(struct sl_task *entry)
{
	return !sl_generation || take_turn(&entry->turn);
}

#endif
