/** Each C file of bpf/ says its licence in the first line, in the form that tools read, and it is the folder's dual one. */
import { problem, type SourceFile } from './source.js'

const EXPECTED = /^(\/\*|\/\/) SPDX-License-Identifier: \(?GPL-2\.0-only OR BSD-2-Clause\)?( \*\/)?$/

export function checkLicences(files: readonly SourceFile[]): string[] {
  return files
    .filter((file) => !EXPECTED.test(file.text.split('\n', 1)[0] ?? ''))
    .map((file) => problem(file, 1, 'start with SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)'))
}
