import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Redactor } from '../../../src/engine/redact.js'

const KEY = Buffer.alloc(32, 7)
const TAG = /\[redacted:[0-9a-f]{8}\]/g

function redact(...args: string[]): string[] {
  const bytes = args.map((arg) => Buffer.from(arg, 'utf8'))
  return new Redactor(KEY).redactArgs(bytes).map((arg) => Buffer.from(arg).toString('utf8').replaceAll(TAG, '###'))
}

/** Assembled at run time, so that scanners of repositories don't take them for real ones. */
const github = `ghp_${'a1B2'.repeat(9)}`
const anthropic = `sk-ant-${'api03-xY9_'.repeat(6)}`
const aws = `AKIA${'IOSFODNN7EXAMPLE'}`
const jwt = ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiIxMjM0In0', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r'].join('.')
const pem = ['-----BEGIN ', 'PRIVATE KEY-----\nMIIE\nabc=\n-----END ', 'PRIVATE KEY-----'].join('')

describe('redacts', () => {
  it.each<[string, string[], string[]]>([
    ['flag and value', ['x', '--password', 'hunter2'], ['x', '--password', '###']],
    ['flag=value', ['x', '--token=abc def'], ['x', '--token=###']],
    [
      'a value that looks like a variable but was never expanded',
      ['x', '--password', '$ecret'],
      ['x', '--password', '###'],
    ],
    ['camel case flag', ['x', '--apiKey', 'k'], ['x', '--apiKey', '###']],
    ['-flag:value', ['x', '-token:hunter2', '-apiKey:a b'], ['x', '-token:###', '-apiKey:###']],
    ['/flag:value', ['x', '/password:hunter2', '/u:me'], ['x', '/password:###', '/u:me']],
    ['a short flag with a slash', ['xfreerdp', '/u:me', '/p:geheim', '/v:h'], ['xfreerdp', '/u:me', '/p:###', '/v:h']],
    ['the same of a program by its path', ['/usr/bin/xfreerdp', '/gp:x1'], ['/usr/bin/xfreerdp', '/gp:###']],
    ['script: -flag:value', ['sh', '-c', 'x -token:pw1 -v'], ['sh', '-c', 'x -token:### -v']],
    ['script: /flag:value', ['sh', '-c', 'x /token:pw1 /v'], ['sh', '-c', 'x /token:### /v']],
    ['script: slash', ['sh', '-c', 'xfreerdp /u:me /p:pw1 /v:h'], ['sh', '-c', 'xfreerdp /u:me /p:### /v:h']],
    ['variable', ['env', 'DB_PASSWORD=pa ss;w&rd', 'ls'], ['env', 'DB_PASSWORD=###', 'ls']],
    ['variable without a separator', ['env', 'PGPASSWORD=x1', 'psql'], ['env', 'PGPASSWORD=###', 'psql']],
    ['MYSQL_PWD', ['MYSQL_PWD=geheim'], ['MYSQL_PWD=###']],
    ['variable of docker', ['docker', '-e', 'API_KEY=k1', 'img'], ['docker', '-e', 'API_KEY=###', 'img']],
    ['nested in a flag', ['x', '--env=SECRET_KEY=a b'], ['x', '--env=SECRET_KEY=###']],
    ['system property', ['java', '-Dpassword=x', 'A'], ['java', '-Dpassword=###', 'A']],
    ['bearer header', ['curl', '-H', 'Authorization: Bearer abc.def'], ['curl', '-H', 'Authorization: Bearer ###']],
    ['basic header', ['curl', '-H', 'authorization: Basic dTpw'], ['curl', '-H', 'authorization: Basic ###']],
    ['other header', ['curl', '-H', 'X-Api-Key: 123'], ['curl', '-H', 'X-Api-Key: ###']],
    ['url', ['git', 'clone', 'https://u:p%40w@host/r.git'], ['git', 'clone', 'https://u:###@host/r.git']],
    ['url without user', ['redis://:pw@h:1/0'], ['redis://:###@h:1/0']],
    ['query', ['https://h/p?access_token=abc&x=1'], ['https://h/p?access_token=###&x=1']],
    ['form', ['curl', '-d', 'client_secret=abc&grant=x'], ['curl', '-d', 'client_secret=###&grant=x']],
    [
      'json',
      ['curl', '-d', '{"user":"u","password": "p w","n":1}'],
      ['curl', '-d', '{"user":"u","password": "###","n":1}'],
    ],
    ['github', ['x', github], ['x', '###']],
    ['github in a flag', ['x', `-p=${github}`], ['x', '-p=###']],
    ['anthropic', [`ANTHROPIC=${anthropic}`], ['ANTHROPIC=###']],
    ['aws', ['x', aws], ['x', '###']],
    ['jwt', [`x/${jwt}`], ['x/###']],
    ['pem', ['x', `a ${pem} b`], ['x', 'a ### b']],
    ['pem that is cut', ['x', pem.slice(0, 40)], ['x', '###']],
    ['script: variable', ['bash', '-c', 'TOKEN=abc curl h'], ['bash', '-c', 'TOKEN=### curl h']],
    ['script: quoted', ['bash', '-c', "export PASSWORD='a b'; ls"], ['bash', '-c', "export PASSWORD='###'; ls"]],
    ['script: word with quotes', ['sh', '-c', 'PASSWORD=a"b c"d ls'], ['sh', '-c', 'PASSWORD=### ls']],
    ['script: flag', ['bash', '-lc', 'x --password hunter2 -v'], ['bash', '-lc', 'x --password ### -v']],
    [
      'script: header',
      ['bash', '-c', 'curl -H "Authorization: Bearer abc" https://u:p@h'],
      ['bash', '-c', 'curl -H "Authorization: Bearer ###" https://u:###@h'],
    ],
    [
      'script: escaped json',
      ['bash', '-c', 'curl -d "{\\"password\\": \\"x y\\"}" h'],
      ['bash', '-c', 'curl -d "{\\"password\\": \\"###\\"}" h'],
    ],
    ['script: inside quotes', ['sh', '-c', 'curl -d "password=x" h'], ['sh', '-c', 'curl -d "password=###" h']],
    ['script: python', ['python', '-c', 'password = "x"; go()'], ['python', '-c', 'password = "###"; go()']],
    [
      'script: here document',
      ['sh', '-c', 'cat >f <<E\n  password: x\nE'],
      ['sh', '-c', 'cat >f <<E\n  password: ###\nE'],
    ],
  ])('%s', (_, given, expected) => {
    expect(redact(...given)).toEqual(expected)
  })
})

describe('leaves alone', () => {
  it.each<[string, string[]]>([
    ['a tokenizer', ['x', '--tokenizer', 'gpt2']],
    ['a count', ['x', 'token_count=5', '--max-tokens=100', '--max_tokens', '7', 'tokens=5']],
    ['a file that holds one', ['x', '--password-file', '/run/p', '--token-path=/t', 'PASSWORD_FILE=/x']],
    ['a name of one', ['kubectl', '--secret-name', 'db', 'token_type=bearer']],
    ['stdin', ['x', '--password', '-']],
    ['a flag after a flag', ['x', '--token', '--verbose']],
    ['a boolean', ['x', '--password=false', 'USE_TOKEN=true']],
    ['the working directory', ['env', 'PWD=/home/x', 'OLDPWD=/y']],
    ['an image', ['docker', 'run', 'registry/secret:latest', 'token:1.2']],
    ['a property', ['dotnet', 'build', '/p:Configuration=Release', '-p:Version=1']],
    ['a path', ['cat', '/etc/secret:old', 'a/token:b', '/run/a/token:b']],
    ['build secrets', ['docker', 'build', '--secret', 'id=npm,src=.npmrc', '--secret=id=x']],
    ['a reference', ['bash', '-c', 'curl -H "Authorization: Bearer $TOKEN" -u x; PASSWORD=$(cat f) y; A_TOKEN=$B z']],
    ['a call', ['python', '-c', 'f(token=get_token(), password=os.environ["P"])']],
    ['a comparison', ['python', '-c', 'print(password == other)']],
    ['prose', ['git', 'commit', '-m', 'token: handle nulls in the password prompt']],
    ['a url', ['git', 'clone', 'https://user@host/a:b@c', 'ssh://git@h:22/x']],
    ['a kebab name', ['sk-learn-some-long-package-name-here']],
    ['npm config', ['npm_config_registry_some_long_name_that_is_no_key_at_all']],
    ['a public key', ['-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----']],
    ['C++', ['grep', 'token::value', 'secret://x']],
    ['nothing', ['']],
  ])('%s', (_, args) => {
    expect(redact(...args)).toEqual(args)
  })
})

describe('the tag', () => {
  const tags = (key: Buffer, ...args: string[]) =>
    new Redactor(key).redactArgs(args.map((arg) => Buffer.from(arg))).map((arg) => Buffer.from(arg).toString())

  it('is equal for equal secrets and differs for others, wherever they stand', () => {
    const [, one, two, other] = tags(KEY, 'x', '--token=aa', 'TOKEN=aa', 'TOKEN=bb')
    expect(one?.slice(-19)).toBe(two?.slice(-19))
    expect(two?.slice(-19)).not.toBe(other?.slice(-19))
  })

  it('can not be computed without the key', () => {
    expect(tags(KEY, '--token=aa')).not.toEqual(tags(Buffer.alloc(32, 8), '--token=aa'))
  })
})

describe('for any input', () => {
  it('every byte that is not replaced stays, and order is kept', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'password=',
        '"token": "',
        ' --secret ',
        'https://a:b@c ',
        "'",
        '"',
        '\\',
        '$',
        github,
        jwt,
        '\n',
      ),
      fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        const [out] = new Redactor(KEY).redactArgs([Buffer.from(text, 'latin1')])
        let at = 0
        for (const kept of Buffer.from(out ?? [])
          .toString('latin1')
          .split(TAG)) {
          const found = text.indexOf(kept, at)
          expect(found).toBeGreaterThanOrEqual(at)
          at = found + kept.length
        }
      }),
    )
  })

  it('a clean argument is the same object', () => {
    const arg = Buffer.from([0xff, 0x00, 0x41])
    expect(new Redactor(KEY).redactArgs([arg])[0]).toBe(arg)
  })

  const MIB = 1024 * 1024
  it.each([
    'password=',
    '=',
    ':',
    'a',
    'eyJ',
    'eyJ.',
    'eyJaaaaaaaaaa.',
    'sk-',
    'sk-aaaaaaaaaaaaaaaaaaaaaaaa ',
    '://',
    'token: ',
    '"token": ',
    '--token ',
    "password='",
    'password="\\',
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN ',
    'x://a@',
    'authorization: ',
    '"authorization: ',
    '\\"',
    '\n   token: ',
    'github_pat_',
    'password=$(',
    '-',
    'curl -u a:b ',
    'curl "',
    "curl 'a ",
    'mysql (',
    'curl $(',
    's/',
    ' s/a/token=b/',
    "'s/token=",
    '?key=a&',
    'machine h login ',
    'machine ',
    'create user password ',
    'identified by "',
    'hooks.slack.com/services/',
    'config set a_token b ',
    '\\\n curl ',
  ])('looks at each character of 1 MiB of %j a bounded number of times', (unit) => {
    const text = unit.repeat(Math.ceil(MIB / unit.length))
    for (const lead of ['', '-c']) {
      const redactor = new Redactor(KEY)
      redactor.redactArgs([Buffer.from(lead), Buffer.from(lead === '' ? text : `${text} `, 'latin1')])
      expect(redactor.steps).toBeLessThan(64 * MIB)
    }
  })
})
