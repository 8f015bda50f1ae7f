/* SPDX-License-Identifier: Apache-2.0 */
/* Catches what libbpf says while a BpfLog lives, in this thread, instead of letting it write to stderr. */
#ifndef SLUICE_BPF_LOG_H
#define SLUICE_BPF_LOG_H

#include <string>

class BpfLog
{
public:
	BpfLog();
	~BpfLog();
	BpfLog(const BpfLog &) = delete;
	BpfLog &operator=(const BpfLog &) = delete;

	/* What is worth showing to a person: the verifier's last lines if there are any, else the last lines of libbpf. */
	std::string summary() const;

	/* Takes libbpf's print hook; once a process. */
	static void install();

private:
	friend int collect(int, const char *, __builtin_va_list);
	std::string text_;
	BpfLog *outer_;
};

#endif
