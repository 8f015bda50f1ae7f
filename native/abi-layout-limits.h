/* SPDX-License-Identifier: Apache-2.0 */
/* The structs of limit_abi.h, as abi-layout.h lists all others. */
#ifndef SLUICE_ABI_LAYOUT_LIMITS_H
#define SLUICE_ABI_LAYOUT_LIMITS_H

#define SL_LIMIT_STRUCTS(S, F, E)      \
	S(sl_limit_rule)               \
	F(sl_limit_rule, interval_ns)  \
	F(sl_limit_rule, tolerance_ns) \
	F(sl_limit_rule, slack_ns)     \
	F(sl_limit_rule, most)         \
	F(sl_limit_rule, flags)        \
	F(sl_limit_rule, pad)          \
	E(sl_limit_rule)               \
	S(sl_limits)                   \
	F(sl_limits, sandbox)          \
	F(sl_limits, rules)            \
	F(sl_limits, sandbox_again)    \
	E(sl_limits)                   \
	S(sl_usage)                    \
	F(sl_usage, paid_ns)           \
	F(sl_usage, refused)           \
	F(sl_usage, connections)       \
	F(sl_usage, bytes)             \
	F(sl_usage, held)              \
	F(sl_usage, killed)            \
	E(sl_usage)                    \
	S(sl_held)                     \
	F(sl_held, sandbox)            \
	F(sl_held, due_ns)             \
	F(sl_held, start_ns)           \
	F(sl_held, pid)                \
	F(sl_held, woken)              \
	E(sl_held)                     \
	S(sl_limit_state)              \
	F(sl_limit_state, limited)     \
	F(sl_limit_state, pad)         \
	F(sl_limit_state, hits)        \
	E(sl_limit_state)

#endif
