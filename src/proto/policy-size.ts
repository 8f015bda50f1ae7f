/** Of a compiled policy, encoded. Ten thousand names and fifty thousand ranges, with a reason each, are half of it. */
export const POLICY_BYTES_MAX = 16 * 1024 * 1024
