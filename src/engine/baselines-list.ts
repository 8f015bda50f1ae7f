/** Which identities something is kept of, and forgetting one of them. Guards nothing: who may ask is baselines-admin.ts's. */
import type { SqliteFile } from '../base/sqlite-file.js'
import type { IBaseline } from '../proto/codec.js'
import { fromBigInt } from '../proto/codec.js'
import type { Identity } from './detect/history.js'

const COUNTS = ['host', 'binary', 'path']
  .map((kind) => `(SELECT count(*) FROM item WHERE identity = i.id AND kind = '${kind}') AS ${kind}`)
  .join(', ')
const ALL =
  `SELECT agent, owner, sessions, last_ms, ${COUNTS}, (SELECT count(*) FROM drift WHERE identity = i.id) AS news` +
  ' FROM identity AS i ORDER BY agent, owner'

export function identitiesIn(file: SqliteFile): IBaseline[] {
  return file
    .sql(ALL)
    .all()
    .map((row) => ({
      ...{ agent: String(row.agent), ownerUid: Number(row.owner), sessions: Number(row.sessions) },
      lastUnixMs: fromBigInt(BigInt(Number(row.last_ms))),
      ...{ hosts: Number(row.host), binaries: Number(row.binary), paths: Number(row.path), news: Number(row.news) },
    }))
}

/** @returns whether there was something */
export function forgetIn(file: SqliteFile, { agent, ownerUid }: Identity): boolean {
  return file.sql('DELETE FROM identity WHERE agent = ? AND owner = ?').run(agent, ownerUid).changes !== 0
}
