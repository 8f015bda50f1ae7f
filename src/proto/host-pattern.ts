/**
 * Host names, and the patterns of a compiled policy that stand for some of them:
 *
 *   EXACT  api.example.com     that name
 *   ONE    *.example.com       exactly one label before it
 *   MORE   **.example.com      one label or more before it
 *   ALL    .example.com        the name itself and every name below it
 *
 * It guards that both are compared as DNS does: without case, without a final dot, international names by their A-labels (RFC 5890,
 * UTS 46). Which patterns a policy may have is engine/policy's.
 */
import { domainToASCII } from 'node:url'
import { HostForm } from './codec.js'

const NAME_MAX = 253
const LABEL_MAX = 63
/** Letters, digits, hyphens, and the underscore of service names; no hyphen at either end (RFC 952, 1123, 2782). */
const LABEL = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/
const ASCII = /^[\x20-\x7e]+$/
/** domainToASCII would decode or cut some of these. */
const IN_NO_NAME = /[\0-,/:-@[-^`{-\x7f]/

export interface HostPattern {
  readonly form: HostForm
  /** As `normalizeHostName` gives it. */
  readonly base: string
}

/** The beginning of each form as people write it; the longest first. */
export const HOST_FORMS: readonly (readonly [prefix: string, form: HostForm])[] = [
  ['**.', HostForm.HOST_FORM_MORE],
  ['*.', HostForm.HOST_FORM_ONE],
  ['.', HostForm.HOST_FORM_ALL],
]

/** As names are compared: lower case, A-labels, no final dot. Null for what is no name; an address counts as a name here. */
export function normalizeHostName(text: string): string | null {
  const bare = text.endsWith('.') ? text.slice(0, -1) : text
  if (IN_NO_NAME.test(bare)) return null
  // Not for plain names: domainToASCII takes numbers for addresses.
  const ascii = ASCII.test(bare) ? bare.toLowerCase() : domainToASCII(bare)
  if (ascii === '' || ascii.length > NAME_MAX) return null
  return ascii.split('.').every((label) => label.length <= LABEL_MAX && LABEL.test(label)) ? ascii : null
}

/** Whether a pattern stands for a name that `normalizeHostName` returned. A form that this version does not know stands for none. */
export function matchesHost({ form, base }: HostPattern, name: string): boolean {
  if (name === base) return form === HostForm.HOST_FORM_EXACT || form === HostForm.HOST_FORM_ALL
  if (!name.endsWith(`.${base}`)) return false
  if (form === HostForm.HOST_FORM_ONE) return !name.slice(0, -base.length - 1).includes('.')
  return form === HostForm.HOST_FORM_MORE || form === HostForm.HOST_FORM_ALL
}

export function hostPatternText({ form, base }: HostPattern): string {
  return `${HOST_FORMS.find(([, each]) => each === form)?.[0] ?? ''}${base}`
}
