/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the launcher. Each step returns 0 or a positive errno; launch.c names the stage that failed. */
#ifndef SLUICE_LAUNCH_H
#define SLUICE_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Who the command runs as, looked up before anything is given up. */
struct launch_user {
	bool given;
	bool groups_known; /* false: a uid without an account, which gets no supplementary groups */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	int group_count;
	const char *name; /* NULL: a uid without an account */
	const char *home;
};

/* `text` is a name or a uid. ENOENT if there is no such account. */
int user_by_text(const char *text, struct launch_user *ret_user);

/* An account is not needed: without one there are no supplementary groups and HOME is "/". */
int user_by_ids(uid_t uid, gid_t gid, struct launch_user *ret_user);

/* Supplementary groups, group and user, for good. */
int user_become(const struct launch_user *user);

/* HOME, USER and LOGNAME of the user. */
int user_set_environment(const struct launch_user *user);

/*
 * Takes the capabilities that make a process master of the host out of every set it has, the bounding set included.
 * `no_new_privs` says that the process will not be able to gain any: without CAP_SETPCAP the bounding set then may stay as it is.
 */
int privileges_drop(bool no_new_privs);

/* Undoes inherited securebits, by which a change of user would keep its capabilities. EPERM if they are locked. */
int privileges_usual_rules(void);

int privileges_forbid_new(void);

/* What is covered for this process and its children alone: folders by empty ones, files by /dev/null. */
struct launch_covers {
	const char *const *dirs;
	size_t dir_count;
	const char *const *files;
	size_t file_count;
};

/* Needs CAP_SYS_ADMIN unless there is nothing to cover. */
int mounts_hide(const struct launch_covers *covers);

/* Refuses calls that a command under a policy does without. Takes no_new_privs, or CAP_SYS_ADMIN. */
int calls_refuse(void);

/* Refuses tracing of whatever process, one's own children included, and asking to be traced. Takes the same. */
int calls_refuse_tracing(void);

/* 0: there is no Landlock. */
int landlock_abi(void);

/* Keeps this process and its children from those outside, where the kernel can. Takes no_new_privs, or CAP_SYS_ADMIN. */
int landlock_keep_apart(void);

/* Keeps this process and its children from writing anything in /proc, which has the memory of processes. ENOSYS where the kernel can't. */
int landlock_keep_memory(void);

/* Forbids this process and its children to put input into a terminal. Takes no_new_privs, or CAP_SYS_ADMIN: without, nothing is done. */
int terminal_refuse_typing(void);

#endif
