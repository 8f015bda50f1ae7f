/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes protobuf fields into memory that is large enough: the caller has made sure. Knows no message and no record.
 */
#ifndef SLUICE_WIRE_WRITER_H
#define SLUICE_WIRE_WRITER_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <endian.h>

/* Wire types of protobuf. */
enum WireType : uint32_t { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

/* Seven bits a byte: nine sixty-fourths of the bits, rounded up, are the bytes. */
inline constexpr size_t varint_size(uint64_t value)
{
	return ((63 - static_cast<size_t>(__builtin_clzll(value | 1))) * 9 + 73) / 64;
}

/*
 * Writes fields, and leaves out zero values, as proto3 does. What it writes behind the end may be some bytes (10 at most) more than
 * what counts: so it need not know how long a number is, or whether it counts, before it is written.
 */
class Writer
{
public:
	explicit Writer(uint8_t *out) : at(out)
	{
	}

	void varint(uint32_t field, uint64_t value)
	{
		size_t size;

		*at = static_cast<uint8_t>(field << 3 | WIRE_VARINT);
		size = 1 + put(at + 1, value);
		at += value ? size : 0;
	}

	void fixed64(uint32_t field, uint64_t value)
	{
		uint64_t wire = htole64(value);

		*at = static_cast<uint8_t>(field << 3 | WIRE_FIXED64);
		memcpy(at + 1, &wire, sizeof(wire));
		at += value ? 1 + sizeof(wire) : 0;
	}

	void bytes(uint32_t field, const uint8_t *data, size_t length)
	{
		if (!length)
			return;
		*at++ = static_cast<uint8_t>(field << 3 | WIRE_BYTES);
		at += put(at, length);
		memcpy(at, data, length);
		at += length;
	}

	/*
	 * Begins a message, there even if it is empty. Its length stands before it and is known at its end: `expected` says for how many
	 * bytes of length room is kept. Returns where the message begins, for `end_message`.
	 */
	uint8_t *begin_message(uint32_t field, size_t expected)
	{
		at += put(at, field << 3 | WIRE_BYTES);
		at += varint_size(expected);
		return at;
	}

	/* Exact whatever was expected: a wrong guess costs that the message is moved. */
	void end_message(uint8_t *begin, size_t expected)
	{
		size_t length = static_cast<size_t>(at - begin);
		size_t kept = varint_size(expected);
		size_t needed = varint_size(length);
		uint8_t *to = begin - kept;

		if (needed != kept) {
			memmove(to + needed, begin, length);
			at = to + needed + length;
		}
		for (; length >= 0x80; length >>= 7)
			*to++ = static_cast<uint8_t>(length | 0x80);
		*to = static_cast<uint8_t>(length);
	}

	uint8_t *at;

private:
	/* A varint; returns its size. Puts the groups of seven bits each into a byte, side by side instead of one after the other. */
	static size_t put(uint8_t *to, uint64_t value)
	{
		if (value < 0x80) {
			*to = static_cast<uint8_t>(value);
			return 1;
		}
		if (value >> 56)
			return put_longest(to, value);

		size_t size = varint_size(value);
		uint64_t spread = (value & 0x000000000fffffff) | (value & 0x00fffffff0000000) << 4;

		spread = (spread & 0x00003fff00003fff) | (spread & 0x0fffc0000fffc000) << 2;
		spread = (spread & 0x007f007f007f007f) | (spread & 0x3f803f803f803f80) << 1;
		/* All but the last say that another follows. */
		spread |= 0x8080808080808080 & ((1ull << (8 * (size - 1))) - 1);
		spread = htole64(spread);
		memcpy(to, &spread, sizeof(spread));
		return size;
	}

	static size_t put_longest(uint8_t *to, uint64_t value)
	{
		uint8_t *end = to;

		for (; value >= 0x80; value >>= 7)
			*end++ = static_cast<uint8_t>(value | 0x80);
		*end++ = static_cast<uint8_t>(value);
		return static_cast<size_t>(end - to);
	}
};

#endif
