/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every struct of the shared headers, once, as a list for the preprocessor; abi-enums.h has their enum values and limits. Two readers:
 * the addon, which reports what the C++ compiler made of them, and abi-dump, which writes the TypeScript. A field that is forgotten here shows up
 * in the test that compares both with the BTF of the built object.
 */
#ifndef SLUICE_ABI_LAYOUT_H
#define SLUICE_ABI_LAYOUT_H

#include "abi-layout-limits.h"

/* S(struct) opens a struct, F(struct, field) follows for each of its fields, E(struct) ends it. */
#define SL_STRUCTS(S, F, E)                 \
	S(sl_event_hdr)                     \
	F(sl_event_hdr, kind)               \
	F(sl_event_hdr, cpu)                \
	F(sl_event_hdr, size)               \
	F(sl_event_hdr, cpu_seq)            \
	F(sl_event_hdr, time_ns)            \
	F(sl_event_hdr, sandbox)            \
	F(sl_event_hdr, cgroup_id)          \
	F(sl_event_hdr, start_time_ns)      \
	F(sl_event_hdr, pid)                \
	F(sl_event_hdr, tid)                \
	F(sl_event_hdr, ppid)               \
	F(sl_event_hdr, uid)                \
	F(sl_event_hdr, gid)                \
	F(sl_event_hdr, exec_count)         \
	E(sl_event_hdr)                     \
	S(sl_exec)                          \
	F(sl_exec, hdr)                     \
	F(sl_exec, args_bytes)              \
	F(sl_exec, exe_inode)               \
	F(sl_exec, exe_dev)                 \
	F(sl_exec, flags)                   \
	F(sl_exec, argc)                    \
	F(sl_exec, args_len)                \
	F(sl_exec, exe_len)                 \
	F(sl_exec, exe_flags)               \
	F(sl_exec, cwd_len)                 \
	F(sl_exec, cwd_flags)               \
	F(sl_exec, script_base_len)         \
	F(sl_exec, script_base_flags)       \
	F(sl_exec, script_len)              \
	F(sl_exec, interpreter_len)         \
	F(sl_exec, data)                    \
	E(sl_exec)                          \
	S(sl_fork)                          \
	F(sl_fork, hdr)                     \
	F(sl_fork, child_start_time_ns)     \
	F(sl_fork, child_pid)               \
	F(sl_fork, pad)                     \
	E(sl_fork)                          \
	S(sl_exit)                          \
	F(sl_exit, hdr)                     \
	F(sl_exit, status)                  \
	F(sl_exit, pad)                     \
	E(sl_exit)                          \
	S(sl_file_open)                     \
	F(sl_file_open, hdr)                \
	F(sl_file_open, inode)              \
	F(sl_file_open, dev)                \
	F(sl_file_open, flags)              \
	F(sl_file_open, error)              \
	F(sl_file_open, created)            \
	F(sl_file_open, path_len)           \
	F(sl_file_open, path_flags)         \
	F(sl_file_open, user_path_len)      \
	F(sl_file_open, pad)                \
	F(sl_file_open, repeats)            \
	F(sl_file_open, first_ns)           \
	F(sl_file_open, last_ns)            \
	F(sl_file_open, data)               \
	E(sl_file_open)                     \
	S(sl_connect)                       \
	F(sl_connect, hdr)                  \
	F(sl_connect, cookie)               \
	F(sl_connect, addr)                 \
	F(sl_connect, last_ns)              \
	F(sl_connect, count)                \
	F(sl_connect, error)                \
	F(sl_connect, port)                 \
	F(sl_connect, local_port)           \
	F(sl_connect, family)               \
	F(sl_connect, protocol)             \
	F(sl_connect, type)                 \
	F(sl_connect, base_len)             \
	F(sl_connect, base_flags)           \
	F(sl_connect, sockaddr_len)         \
	F(sl_connect, via)                  \
	F(sl_connect, flags)                \
	F(sl_connect, verdict)              \
	F(sl_connect, why)                  \
	F(sl_connect, rule)                 \
	F(sl_connect, generation)           \
	F(sl_connect, pad)                  \
	F(sl_connect, data)                 \
	E(sl_connect)                       \
	S(sl_closed)                        \
	F(sl_closed, hdr)                   \
	F(sl_closed, cookie)                \
	F(sl_closed, bytes_sent)            \
	F(sl_closed, bytes_received)        \
	F(sl_closed, duration_ns)           \
	F(sl_closed, addr)                  \
	F(sl_closed, port)                  \
	F(sl_closed, local_port)            \
	F(sl_closed, incoming)              \
	F(sl_closed, pad)                   \
	E(sl_closed)                        \
	S(sl_exec_failed)                   \
	F(sl_exec_failed, hdr)              \
	F(sl_exec_failed, base_len)         \
	F(sl_exec_failed, path_len)         \
	F(sl_exec_failed, base_flags)       \
	F(sl_exec_failed, pad)              \
	F(sl_exec_failed, error)            \
	F(sl_exec_failed, pad2)             \
	F(sl_exec_failed, data)             \
	E(sl_exec_failed)                   \
	S(sl_file_change)                   \
	F(sl_file_change, hdr)              \
	F(sl_file_change, op)               \
	F(sl_file_change, base_len)         \
	F(sl_file_change, path_len)         \
	F(sl_file_change, new_base_len)     \
	F(sl_file_change, new_path_len)     \
	F(sl_file_change, base_flags)       \
	F(sl_file_change, new_base_flags)   \
	F(sl_file_change, pad)              \
	F(sl_file_change, error)            \
	F(sl_file_change, pad2)             \
	F(sl_file_change, data)             \
	E(sl_file_change)                   \
	S(sl_cgroup)                        \
	F(sl_cgroup, hdr)                   \
	F(sl_cgroup, target)                \
	F(sl_cgroup, actor)                 \
	F(sl_cgroup, op)                    \
	F(sl_cgroup, flags)                 \
	F(sl_cgroup, path_len)              \
	F(sl_cgroup, path_flags)            \
	F(sl_cgroup, pad)                   \
	F(sl_cgroup, data)                  \
	E(sl_cgroup)                        \
	S(sl_stdin)                         \
	F(sl_stdin, hdr)                    \
	F(sl_stdin, bytes)                  \
	F(sl_stdin, text_len)               \
	F(sl_stdin, flags)                  \
	F(sl_stdin, data)                   \
	E(sl_stdin)                         \
	S(sl_quarantine)                    \
	F(sl_quarantine, hdr)               \
	F(sl_quarantine, cause)             \
	F(sl_quarantine, subject)           \
	F(sl_quarantine, stopped)           \
	F(sl_quarantine, pad)               \
	E(sl_quarantine)                    \
	S(sl_dns)                           \
	F(sl_dns, hdr)                      \
	F(sl_dns, cookie)                   \
	F(sl_dns, resolver)                 \
	F(sl_dns, tcp_seq)                  \
	F(sl_dns, bytes)                    \
	F(sl_dns, len)                      \
	F(sl_dns, local_port)               \
	F(sl_dns, protocol)                 \
	F(sl_dns, pad)                      \
	F(sl_dns, data)                     \
	E(sl_dns)                           \
	S(sl_watch)                         \
	F(sl_watch, depth)                  \
	F(sl_watch, holds)                  \
	F(sl_watch, head_len)               \
	F(sl_watch, tail_len)               \
	F(sl_watch, pad)                    \
	F(sl_watch, head)                   \
	F(sl_watch, tail)                   \
	E(sl_watch)                         \
	S(sl_state)                         \
	F(sl_state, quarantined)            \
	F(sl_state, pad)                    \
	E(sl_state)                         \
	S(sl_sandbox)                       \
	F(sl_sandbox, id)                   \
	F(sl_sandbox, flags)                \
	F(sl_sandbox, cgroups)              \
	E(sl_sandbox)                       \
	S(sl_pending_connect)               \
	F(sl_pending_connect, sandbox)      \
	F(sl_pending_connect, start_ns)     \
	F(sl_pending_connect, cookie)       \
	F(sl_pending_connect, addr)         \
	F(sl_pending_connect, port)         \
	F(sl_pending_connect, local_port)   \
	F(sl_pending_connect, family)       \
	F(sl_pending_connect, protocol)     \
	F(sl_pending_connect, type)         \
	F(sl_pending_connect, state)        \
	F(sl_pending_connect, via)          \
	F(sl_pending_connect, fd)           \
	F(sl_pending_connect, exec_count)   \
	F(sl_pending_connect, messages)     \
	F(sl_pending_connect, verdict)      \
	F(sl_pending_connect, why)          \
	F(sl_pending_connect, stops)        \
	F(sl_pending_connect, rule)         \
	F(sl_pending_connect, generation)   \
	F(sl_pending_connect, wait_us)      \
	F(sl_pending_connect, peer)         \
	F(sl_pending_connect, program)      \
	E(sl_pending_connect)               \
	S(sl_program)                       \
	F(sl_program, inode)                \
	F(sl_program, changed_ns)           \
	F(sl_program, dev)                  \
	F(sl_program, size)                 \
	E(sl_program)                       \
	S(sl_task)                          \
	F(sl_task, sandbox)                 \
	F(sl_task, exec_count)              \
	F(sl_task, exited)                  \
	F(sl_task, turn)                    \
	F(sl_task, flags)                   \
	E(sl_task)                          \
	S(sl_kind_counters)                 \
	F(sl_kind_counters, attempted)      \
	F(sl_kind_counters, submitted)      \
	F(sl_kind_counters, folded)         \
	F(sl_kind_counters, dropped)        \
	E(sl_kind_counters)                 \
	S(sl_counters)                      \
	F(sl_counters, seq)                 \
	F(sl_counters, identity_failures)   \
	F(sl_counters, read_failures)       \
	F(sl_counters, watch_failures)      \
	F(sl_counters, kinds)               \
	E(sl_counters)                      \
	S(sl_control)                       \
	F(sl_control, counters_id)          \
	F(sl_control, missed_before)        \
	F(sl_control, active)               \
	F(sl_control, previous)             \
	E(sl_control)                       \
	S(sl_ring_size)                     \
	F(sl_ring_size, bytes)              \
	F(sl_ring_size, span_shift)         \
	F(sl_ring_size, pad)                \
	E(sl_ring_size)                     \
	S(sl_share_counters)                \
	F(sl_share_counters, submitted)     \
	F(sl_share_counters, folded)        \
	F(sl_share_counters, dropped)       \
	E(sl_share_counters)                \
	S(sl_share)                         \
	F(sl_share, spans)                  \
	F(sl_share, kinds)                  \
	E(sl_share)                         \
	S(sl_walk_request)                  \
	F(sl_walk_request, sandbox)         \
	F(sl_walk_request, mode)            \
	F(sl_walk_request, changed)         \
	E(sl_walk_request)                  \
	S(sl_walked)                        \
	F(sl_walked, start_time_ns)         \
	F(sl_walked, parent_start_ns)       \
	F(sl_walked, cgroup_id)             \
	F(sl_walked, pid)                   \
	F(sl_walked, tid)                   \
	F(sl_walked, ppid)                  \
	F(sl_walked, uid)                   \
	F(sl_walked, gid)                   \
	F(sl_walked, exec_count)            \
	F(sl_walked, flags)                 \
	F(sl_walked, pad)                   \
	E(sl_walked)                        \
	S(sl_walked_connection)             \
	F(sl_walked_connection, cookie)     \
	F(sl_walked_connection, local_addr) \
	F(sl_walked_connection, addr)       \
	F(sl_walked_connection, local_port) \
	F(sl_walked_connection, port)       \
	F(sl_walked_connection, family)     \
	F(sl_walked_connection, pad)        \
	F(sl_walked_connection, device)     \
	F(sl_walked_connection, netns)      \
	F(sl_walked_connection, pid)        \
	F(sl_walked_connection, pad2)       \
	E(sl_walked_connection)             \
	S(sl_walked_file)                   \
	F(sl_walked_file, program)          \
	F(sl_walked_file, fd)               \
	F(sl_walked_file, pad)              \
	E(sl_walked_file)                   \
	S(sl_redirect_key)                  \
	F(sl_redirect_key, sandbox)         \
	F(sl_redirect_key, netns)           \
	E(sl_redirect_key)                  \
	S(sl_redirect)                      \
	F(sl_redirect, port4)               \
	F(sl_redirect, port6)               \
	F(sl_redirect, flags)               \
	E(sl_redirect)                      \
	S(sl_gateway_port)                  \
	F(sl_gateway_port, netns)           \
	F(sl_gateway_port, port)            \
	F(sl_gateway_port, pad)             \
	E(sl_gateway_port)                  \
	S(sl_door_wanted)                   \
	F(sl_door_wanted, tid)              \
	F(sl_door_wanted, pad)              \
	E(sl_door_wanted)                   \
	S(sl_gateway)                       \
	F(sl_gateway, alive_ns)             \
	F(sl_gateway, redirecting)          \
	F(sl_gateway, pad)                  \
	E(sl_gateway)                       \
	S(sl_policy_state)                  \
	F(sl_policy_state, policed)         \
	F(sl_policy_state, pad)             \
	E(sl_policy_state)                  \
	S(sl_sandbox_policy)                \
	F(sl_sandbox_policy, sandbox)       \
	F(sl_sandbox_policy, policy)        \
	F(sl_sandbox_policy, generation)    \
	F(sl_sandbox_policy, flags)         \
	F(sl_sandbox_policy, pad)           \
	F(sl_sandbox_policy, sandbox_again) \
	E(sl_sandbox_policy)                \
	SL_LIMIT_STRUCTS(S, F, E)           \
	S(sl_net_key)                       \
	F(sl_net_key, prefix_length)        \
	F(sl_net_key, addr)                 \
	E(sl_net_key)                       \
	S(sl_ports)                         \
	F(sl_ports, rule)                   \
	F(sl_ports, first)                  \
	F(sl_ports, last)                   \
	F(sl_ports, protocol)               \
	F(sl_ports, deny)                   \
	F(sl_ports, programs)               \
	E(sl_ports)                         \
	S(sl_net)                           \
	F(sl_net, ports)                    \
	F(sl_net, count)                    \
	E(sl_net)                           \
	S(sl_unix_key)                      \
	F(sl_unix_key, generation)          \
	F(sl_unix_key, len)                 \
	F(sl_unix_key, name)                \
	E(sl_unix_key)                      \
	S(sl_unix_slot)                     \
	F(sl_unix_slot, sandbox)            \
	F(sl_unix_slot, slot)               \
	F(sl_unix_slot, pad)                \
	E(sl_unix_slot)                     \
	S(sl_unix_bound)                    \
	F(sl_unix_bound, sock)              \
	F(sl_unix_bound, inode)             \
	E(sl_unix_bound)                    \
	S(sl_lent)                          \
	F(sl_lent, owner)                   \
	F(sl_lent, inode)                   \
	E(sl_lent)                          \
	S(sl_lease_key)                     \
	F(sl_lease_key, sandbox)            \
	F(sl_lease_key, addr)               \
	E(sl_lease_key)                     \
	S(sl_lease)                         \
	F(sl_lease, expires_ns)             \
	F(sl_lease, rule)                   \
	F(sl_lease, generation)             \
	F(sl_lease, first)                  \
	F(sl_lease, last)                   \
	F(sl_lease, programs)               \
	F(sl_lease, protocol)               \
	F(sl_lease, pad)                    \
	E(sl_lease)                         \
	S(sl_program_key)                   \
	F(sl_program_key, program)          \
	F(sl_program_key, generation)       \
	F(sl_program_key, set)              \
	E(sl_program_key)                   \
	S(sl_leases)                        \
	F(sl_leases, leases)                \
	F(sl_leases, count)                 \
	F(sl_leases, pad)                   \
	E(sl_leases)

#endif
