// SPDX-License-Identifier: Apache-2.0
/* Accounts: looked up through NSS while the launcher may still read what it needs, used after the go. */
#include "launch.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Groups of one user; the kernel takes no more (NGROUPS_MAX). */
#define GROUPS_MAX 65536

static int read_groups(const char *name, gid_t gid, struct launch_user *user)
{
	int count = 64;

	for (;;) {
		gid_t *groups = realloc(user->groups, sizeof(gid_t) * (size_t)count);
		int wanted = count;

		if (!groups)
			return ENOMEM;
		user->groups = groups;
		if (getgrouplist(name, gid, groups, &wanted) >= 0) {
			user->group_count = wanted;
			user->groups_known = true;
			return 0;
		}
		if (count >= GROUPS_MAX)
			return E2BIG;
		count = wanted > count && wanted <= GROUPS_MAX ? wanted : GROUPS_MAX;
	}
}

/* Copies what the account says; getpwnam's memory belongs to libc. */
static int take_account(const struct passwd *account, gid_t gid, struct launch_user *user)
{
	user->given = true;
	user->uid = account->pw_uid;
	user->gid = gid;
	user->name = strdup(account->pw_name);
	user->home = strdup(account->pw_dir && *account->pw_dir ? account->pw_dir : "/");
	if (!user->name || !user->home)
		return ENOMEM;
	return read_groups(user->name, gid, user);
}

/* Decimal digits only; UINT32_MAX means "no change" to setresuid and is no uid. */
static bool parse_uid(const char *text, uid_t *ret_uid)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end || errno || value >= 0xffffffffUL)
		return false;
	*ret_uid = (uid_t)value;
	return true;
}

int user_by_text(const char *text, struct launch_user *ret_user)
{
	struct passwd *account;
	uid_t uid;

	errno = 0;
	account = getpwnam(text);
	if (!account && parse_uid(text, &uid)) {
		errno = 0;
		account = getpwuid(uid);
	}
	/* What errno says about an account that isn't there differs from one NSS module to the next. */
	if (!account)
		return errno == EIO || errno == EMFILE || errno == ENFILE || errno == ENOMEM ? errno : ENOENT;
	return take_account(account, account->pw_gid, ret_user);
}

int user_by_ids(uid_t uid, gid_t gid, struct launch_user *ret_user)
{
	struct passwd *account = getpwuid(uid);

	if (account)
		return take_account(account, gid, ret_user);
	ret_user->given = true;
	ret_user->uid = uid;
	ret_user->gid = gid;
	ret_user->home = "/";
	return 0;
}

int user_become(const struct launch_user *user)
{
	if (setgroups(user->groups_known ? (size_t)user->group_count : 0, user->groups))
		return errno;
	if (setresgid(user->gid, user->gid, user->gid))
		return errno;
	return setresuid(user->uid, user->uid, user->uid) ? errno : 0;
}

int user_set_environment(const struct launch_user *user)
{
	if (setenv("HOME", user->home, 1))
		return errno;
	/* The name of whoever called us would be a lie. */
	if (!user->name)
		return unsetenv("USER") || unsetenv("LOGNAME") ? errno : 0;
	return setenv("USER", user->name, 1) || setenv("LOGNAME", user->name, 1) ? errno : 0;
}
