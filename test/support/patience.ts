/** How long a test may take before it counts as hanging: longer in the guests of test/vm, which are emulated. */
const PATIENCE = Number(process.env.SLUICE_TEST_PATIENCE ?? '1')

/** In milliseconds. */
export function patient(ms: number): number {
  return ms * PATIENCE
}

/** How often something is done again for what only many rounds find: fewer in the guests, whose kernels alone are in question there. */
export function rounds({ here, emulated }: { here: number; emulated: number }): number {
  return PATIENCE > 1 ? emulated : here
}
