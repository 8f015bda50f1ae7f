/** Events for a spool, as a session of opens has them: numbered by `seq`. */
const START_NS = 1_800_000_000_000_000_000n

export async function spoolEvents() {
  const { derivedUuid } = await import('../../build/js/base/uuid.js')
  const { fromBigInt } = await import('../../build/js/proto/codec.js')
  const { verdict, ...common } = shared()
  return {
    event: (seq) => ({
      ...common,
      uid: derivedUuid({ unixMs: 1n, parts: [String(seq)] }),
      ...{ timeUnixNs: fromBigInt(START_NS + BigInt(seq)), seq: fromBigInt(BigInt(seq)) },
      fileOpen: {
        path: Buffer.from(`/home/agent/project/src/file-${seq}.ts`),
        userPath: Buffer.from(`file-${seq}.ts`),
        ...{ resolved: true, access: 2, flags: ['O_WRONLY', 'O_CREAT'], dev: fromBigInt(2_049n), verdict: verdict },
        ...{
          inode: fromBigInt(BigInt(seq)),
          count: fromBigInt(1n),
          lastTimeUnixNs: fromBigInt(START_NS + BigInt(seq)),
        },
      },
    }),
  }
}

function shared() {
  const process = {
    ...{ execId: '018f-1', pid: 4_242, tid: 4_242, ppid: 4_000, exe: Buffer.from('/usr/bin/node') },
    ...{ args: [Buffer.from('node'), Buffer.from('server.js')], cwd: Buffer.from('/home/agent/project') },
  }
  return {
    verdict: { decision: 1, rule: '', policy: '', reason: '', enforcedBy: '' },
    ...{ schema: 1, source: 'tp_btf/sys_exit', node: { name: 'bench', bootId: 'b' }, process },
    ...{ sandbox: { id: 'sb-1', name: 'bench', agent: 'agent' }, sessionId: '018f0000-0000-7000-8000-000000000000' },
  }
}
