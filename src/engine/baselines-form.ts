/** The tables of what is usual, and how much of it is kept: statements as SQLite keeps them, so that a file can be held against them. */
import type { SqliteForm } from '../base/sqlite-file.js'

export interface BaselinesMax {
  readonly identities: number
  /** Of each kind, of an identity. */
  readonly items: number
  /** New ones of an identity that wait for the next list. */
  readonly drift: number
  /** Lengths of windows that an identity's volume is known for. */
  readonly windowKinds: number
  /** Latest sessions that can't teach again. */
  readonly learned: number
  /** Since an identity's last session. */
  readonly ageMs: number
  readonly bytes: number
}

export const BASELINES_MAX: BaselinesMax = {
  ...{ identities: 1_000, items: 512, drift: 100, windowKinds: 4, learned: 10_000 },
  ageMs: 180 * 24 * 3_600_000,
  bytes: 256 * 1024 * 1024,
}

/** "SLBL". */
const APPLICATION_ID = 0x53_4c_42_4c
const OF_IDENTITY = 'identity INTEGER NOT NULL REFERENCES identity (id) ON DELETE CASCADE'

export const BASELINES_FORM: Omit<SqliteForm, 'bytesMax'> = {
  applicationId: APPLICATION_ID,
  version: 1,
  schema: [
    'CREATE TABLE identity (id INTEGER PRIMARY KEY, agent TEXT NOT NULL, owner INTEGER NOT NULL, sessions INTEGER NOT NULL,' +
      ' last_ms INTEGER NOT NULL, drift_ms INTEGER NOT NULL, UNIQUE (agent, owner)) STRICT',
    'CREATE INDEX identity_last ON identity (last_ms)',
    `CREATE TABLE usual (${OF_IDENTITY}, window_ms INTEGER NOT NULL, counted TEXT NOT NULL,` +
      ' mean REAL NOT NULL, deviation REAL NOT NULL, windows INTEGER NOT NULL, sessions INTEGER NOT NULL,' +
      ' anchor_mean REAL NOT NULL, anchor_deviation REAL NOT NULL, anchor_ms INTEGER NOT NULL, session INTEGER NOT NULL,' +
      ' PRIMARY KEY (identity, window_ms, counted)) STRICT, WITHOUT ROWID',
    `CREATE TABLE item (${OF_IDENTITY}, kind TEXT NOT NULL, name TEXT NOT NULL, session INTEGER NOT NULL,` +
      ' PRIMARY KEY (identity, kind, name)) STRICT, WITHOUT ROWID',
    `CREATE TABLE drift (id INTEGER PRIMARY KEY, ${OF_IDENTITY}, kind TEXT NOT NULL, name TEXT NOT NULL,` +
      ' UNIQUE (identity, kind, name)) STRICT',
    'CREATE TABLE learned (id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE) STRICT',
  ],
}
