/**
 * What the demo agent does, in order: it finds and fixes a failing test in a tiny project that it makes itself.
 *
 * A step has `say` (its line of narration) and either `act(world)`, done in this process, resolving to text to show, or `tool(world)`,
 * argv of a program that is skipped unless its first word and all of `needs` are on PATH. `exit` is the planned exit code (0),
 * `shown` replaces the command line on the screen, `lines` is how much of the output is shown.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const NODE = process.execPath
// Made up. It is on a command line so that the record has an argument to redact.
const TOKEN = 'demo-not-a-real-secret-5d1c7e'
const SOURCE = 'src/total.mjs'
const FILES = {
  'README.md': '# till\n\nAdds up a basket.\n',
  [SOURCE]: 'export const total = (items) => items.reduce((sum, item) => sum + item.price, 0)\n',
  'test/total.test.mjs': `import { total } from '../src/total.mjs'
const sum = total([{ price: 4, quantity: 3 }, { price: 1, quantity: 2 }])
console.log(sum === 14 ? 'ok: quantities count' : \`not ok: total is \${sum}, should be 14\`)
process.exitCode = sum === 14 ? 0 : 1
`,
  'scripts/release.mjs': "console.log('dry run: nothing is published;', process.argv.length - 2, 'arguments')\n",
}

// By option and not by `git config`: nothing outside the workspace is read or written.
const IDENTITY = ['-c', 'user.name=demo', '-c', 'user.email=demo@localhost', '-c', 'commit.gpgSign=false']
const program = (say, ...argv) => ({ say, tool: () => argv })
const node = (say, ...args) => ({ say, tool: () => [NODE, ...args], shown: ['node', ...args] })

async function writeProject({ workspace }) {
  for (const dir of ['src', 'test', 'scripts']) await mkdir(join(workspace, dir))
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(workspace, name), text)
  return Object.keys(FILES).join(' ')
}

async function fixSource({ workspace }) {
  const path = join(workspace, SOURCE)
  await writeFile(path, (await readFile(path, 'utf8')).replace('item.price', 'item.price * item.quantity'))
  return 'item.price → item.price * item.quantity'
}

export const steps = [
  { say: 'make a tiny project to work on', act: writeProject },
  program('put it under git', 'git', 'init', '-q', '--template='),
  program('stage its files', 'git', 'add', '-A'),
  program('commit them', 'git', ...IDENTITY, 'commit', '-q', '-m', 'Add a till'),
  {
    ...program('read the project', 'bash', '-c', `ls -la && cat README.md ${SOURCE} test/total.test.mjs`),
    ...{ needs: ['ls', 'cat'], lines: 6 },
  },
  { say: 'ask the model API (a stand-in on 127.0.0.1)', act: ({ model }) => model.ask('A test fails. What now?') },
  { ...node('run the tests: they fail, as they should at this point', 'test/total.test.mjs'), exit: 1 },
  program('search for the culprit', 'grep', '-rn', 'reduce', 'src'),
  { ...program('look for local settings: there are none', 'cat', '.env'), exit: 1 },
  { say: 'ask again', act: ({ model }) => model.ask('total() gives 5, not 14. Why?') },
  { say: `edit ${SOURCE}`, act: fixSource },
  node('run the tests again', 'test/total.test.mjs'),
  program('see what changed', 'git', 'diff', '--stat'),
  program('check the sum in Python', 'python3', '-c', 'print(sum(p * q for p, q in [(4, 3), (1, 2)]))'),
  node('and in Node', '-e', 'console.log([[4, 3], [1, 2]].reduce((sum, [p, q]) => sum + p * q, 0))'),
  {
    ...program('count lines in a shell within a shell', 'bash', '-c', "sh -c 'cat src/* test/* | wc -l'"),
    needs: ['sh', 'cat', 'wc'],
  },
  {
    say: 'list models with Python',
    tool: ({ model }) => [
      'python3',
      '-c',
      `from urllib.request import *; print(urlopen("${model.url}/models", timeout=5).read().decode())`,
    ],
  },
  {
    say: 'list models with curl',
    tool: ({ model }) => ['curl', '-q', '-sS', '--max-time', '5', `${model.url}/models`],
  },
  // Succeeds whether anybody is there or not: it is the attempt that is to be seen. Shells wait for the result, so it is known.
  program('try an address where nothing answers', 'bash', '-c', ': < /dev/tcp/127.0.0.2/9 || echo nobody is there'),
  {
    ...node('rehearse a release with a made-up token on the command line', 'scripts/release.mjs', `--token=${TOKEN}`),
    shown: 'node scripts/release.mjs --token=(a made-up token)',
  },
  program('commit the fix', 'git', ...IDENTITY, 'commit', '-q', '-a', '-m', 'Count quantities'),
]
