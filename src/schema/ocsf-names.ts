/**
 * Numbers and names of the OCSF 1.8.0 classes that events are written as (github.com/ocsf/ocsf-schema, tag 1.8.0). Where an enum has a text
 * twin the two always agree. Not here: which event is of which class.
 */

interface OcsfClass {
  readonly uid: number
  readonly name: string
  readonly category: { readonly uid: number; readonly name: string }
  /** By number. What is not listed is 99, other, and says its own name. */
  readonly activities: Readonly<Record<number, string>>
}

const SYSTEM = { uid: 1, name: 'System Activity' }
const FINDINGS = { uid: 2, name: 'Findings' }
const NETWORK = { uid: 4, name: 'Network Activity' }
const DISCOVERY = { uid: 5, name: 'Discovery' }
const APPLICATION = { uid: 6, name: 'Application Activity' }

export const FILE_ACTIVITY: OcsfClass = {
  ...{ uid: 1001, name: 'File System Activity', category: SYSTEM },
  activities: { 1: 'Create', 2: 'Read', 3: 'Update', 4: 'Delete', 5: 'Rename', 7: 'Set Security', 12: 'Mount' },
}
export const PROCESS_ACTIVITY: OcsfClass = {
  ...{ uid: 1007, name: 'Process Activity', category: SYSTEM },
  activities: { 1: 'Launch', 2: 'Terminate' },
}
export const DETECTION_FINDING: OcsfClass = {
  ...{ uid: 2004, name: 'Detection Finding', category: FINDINGS },
  activities: { 1: 'Create', 2: 'Update', 3: 'Close' },
}
export const NETWORK_ACTIVITY: OcsfClass = {
  ...{ uid: 4001, name: 'Network Activity', category: NETWORK },
  activities: { 1: 'Open', 2: 'Close', 4: 'Fail', 5: 'Refuse', 6: 'Traffic', 7: 'Listen' },
}
export const DNS_ACTIVITY: OcsfClass = {
  ...{ uid: 4003, name: 'DNS Activity', category: NETWORK },
  activities: { 1: 'Query', 2: 'Response' },
}
export const DEVICE_CONFIG_STATE_CHANGE: OcsfClass = {
  ...{ uid: 5019, name: 'Device Config State Change', category: DISCOVERY },
  activities: { 1: 'Log' },
}
export const APPLICATION_LIFECYCLE: OcsfClass = {
  ...{ uid: 6002, name: 'Application Lifecycle', category: APPLICATION },
  activities: { 3: 'Start', 4: 'Stop', 8: 'Update' },
}

export const OTHER = 99

const SEVERITIES = ['Unknown', 'Informational', 'Low', 'Medium', 'High'] as const
export const INFORMATIONAL = 1
export const LOW = 2
export const MEDIUM = 3
export const HIGH = 4

const STATUSES: Readonly<Record<number, string>> = { 0: 'Unknown', 1: 'Success', 2: 'Failure' }
const FINDING_STATUSES: Readonly<Record<number, string>> = { 1: 'New', 2: 'In Progress', 4: 'Resolved' }
const ACTIONS: Readonly<Record<number, string>> = {
  0: 'Unknown',
  1: 'Allowed',
  2: 'Denied',
  3: 'Observed',
  4: 'Modified',
}
const DISPOSITIONS: Readonly<Record<number, string>> = {
  ...{ 0: 'Unknown', 1: 'Allowed', 2: 'Blocked', 4: 'Isolated', 6: 'Dropped', 9: 'Restored' },
  ...{ 14: 'Delayed', 15: 'Detected', 16: 'No Action', 19: 'Alert', 27: 'Error' },
}

/** What says what an event is. `activity` by name is an other one of the class. */
export function classified(of: OcsfClass, activity: number | string): Record<string, unknown> {
  const id = typeof activity === 'number' ? activity : OTHER
  const name = typeof activity === 'number' ? of.activities[activity] : activity
  return {
    ...{ activity_id: id, activity_name: name, category_uid: of.category.uid, category_name: of.category.name },
    ...{ class_uid: of.uid, class_name: of.name, type_uid: of.uid * 100 + id, type_name: `${of.name}: ${name}` },
  }
}

export function severity(id: number): Record<string, unknown> {
  return { severity_id: id, severity: SEVERITIES[id] }
}

export function status(id: number): Record<string, unknown> {
  return { status_id: id, status: STATUSES[id] }
}

export function findingStatus(id: number): Record<string, unknown> {
  return { status_id: id, status: FINDING_STATUSES[id] }
}

/** Of the profile security_control. */
export function control(action: number, disposition: number): Record<string, unknown> {
  return {
    ...{ action_id: action, action: ACTIONS[action] },
    ...{ disposition_id: disposition, disposition: DISPOSITIONS[disposition] },
  }
}
