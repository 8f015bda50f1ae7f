/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF objects, inside the addon: no file to find, swap or forget. One EMBED line an object, its name in embedded.cc. */
.macro EMBED symbol, path
	.section .rodata, "a", %progbits
	.balign 16
	.hidden \symbol\()_start
	.hidden \symbol\()_end
	.global \symbol\()_start
	.global \symbol\()_end
\symbol\()_start:
	.incbin "\path"
\symbol\()_end:
	.byte 0
.endm

	EMBED sluice_object_core, SLUICE_OBJECT_CORE
	EMBED sluice_object_uring, SLUICE_OBJECT_URING
	EMBED sluice_object_walk, SLUICE_OBJECT_WALK

	.section .note.GNU-stack, "", %progbits
