/** Events for a spool, as a session of opens has them: numbered by `seq`. */
const START_NS = 1_800_000_000_000_000_000n

export async function spoolEvents() {
  const { derivedUuid } = await import('../../build/js/base/uuid.js')
  const { fromBigInt } = await import('../../build/js/proto/codec.js')
  const common = shared()
  return {
    event: (seq) => ({
      ...common,
      uid: derivedUuid({ unixMs: 1n, parts: [String(seq)] }),
      ...{ timeUnixNs: fromBigInt(START_NS + BigInt(seq)), seq: fromBigInt(BigInt(seq)) },
      fileOpen: {
        path: Buffer.from(`/home/agent/project/src/file-${seq}.ts`),
        userPath: Buffer.from(`file-${seq}.ts`),
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
    ...{ schema: 1, source: 'tp_btf/sys_exit', node: { name: 'bench', bootId: 'b' }, process },
    ...{ sandbox: { id: 'sb-1', name: 'bench', agent: 'agent' }, sessionId: '018f0000-0000-7000-8000-000000000000' },
  }
}
