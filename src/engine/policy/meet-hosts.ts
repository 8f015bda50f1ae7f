/** Two host patterns: whether one holds the other, and which names both stand for. Exact: no name more, none less. */
import { HostForm } from '../../proto/codec.js'
import { type HostPattern, matchesHost } from '../../proto/host-pattern.js'

const { HOST_FORM_EXACT: EXACT, HOST_FORM_ONE: ONE, HOST_FORM_ALL: ALL } = HostForm

/** Whether every name of `inner` is one of `outer`. */
export function holdsHost(outer: HostPattern, inner: HostPattern): boolean {
  if (inner.form === EXACT) return matchesHost(outer, inner.base)
  if (outer.form === EXACT) return false
  if (inner.base === outer.base)
    return outer.form === inner.form || outer.form === ALL || (outer.form !== ONE && inner.form === ONE)
  return inner.base.endsWith(`.${outer.base}`) && outer.form !== ONE
}

/** The names that both stand for are always one pattern again; null if there is none. */
export function meetHosts(one: HostPattern, other: HostPattern): HostPattern | null {
  if (holdsHost(one, other)) return other
  if (holdsHost(other, one)) return one
  // What is left: *.b and a wildcard below it that takes in its own base meet in that base.
  const [outer, inner] = one.base.length < other.base.length ? [one, other] : [other, one]
  return inner.form === ALL && matchesHost(outer, inner.base) ? { form: EXACT, base: inner.base } : null
}
