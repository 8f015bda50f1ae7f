/** What agents type every day: in each row a command with a secret, what is left of it, and a neighbour in which nothing is taken. */
import { describe, expect, it } from 'vitest'
import { Redactor } from '../../../src/engine/redact.js'

const TAG = /\[redacted:[0-9a-f]{8}\]/g

function redact(...args: string[]): string[] {
  const bytes = args.map((arg) => Buffer.from(arg, 'utf8'))
  return new Redactor(Buffer.alloc(32, 7))
    .redactArgs(bytes)
    .map((arg) => Buffer.from(arg).toString('utf8').replaceAll(TAG, '###'))
}

const PW = 'hunter2Aa'
const key40 = 'a1B2c3D4'.repeat(5)

/** What is taken from a command, and its neighbour that is left alone. `PW` stands for the secret. */
describe.each<[string, string[], string[]]>([
  ['curl -u', ['curl', '-u', 'me:PW', 'h'], ['curl', '-u', 'me', 'h']],
  ['curl -u in one argument', ['curl', '-sSume:PW', 'h'], ['curl', '-o', 'u:x', 'h']],
  ['curl --user', ['/usr/bin/curl', '--user', 'me:PW'], ['id', '--user', 'me:x']],
  ['curl --proxy-user=', ['sudo', 'curl', '--proxy-user=me:PW'], ['curl', '--proxy-header', 'Accept: */*']],
  ['curl header without blank', ['curl', '-H', 'x-api-key:PW'], ['curl', '-H', 'accept:text/html']],
  ['curl header in one argument', ['curl', '-Hx-api-key: PW'], ['curl', '-Hkeep-alive: 5']],
  ['curl authorization in one argument', ['curl', '-HAuthorization: token PW'], ['curl', '-HAuthority: x y']],
  ['cookie header', ['curl', '-H', 'Cookie: PW=1; b=2'], ['git', 'commit', '-m', 'Cookie: handle a = b']],
  ['curl -b', ['curl', '-b', 'PW=1', 'h'], ['curl', '-b', 'cookies.txt', '-c', 'cookies.txt']],
  ['curl --oauth2-bearer', ['curl', '--oauth2-bearer', 'PW'], ['curl', '--output', 'x']],
  ['wget --header', ['wget', '--header=X-Auth-Token:PW'], ['wget', '--header=Accept:x']],
  ['docker login -p', ['docker', 'login', '-u', 'me', '-p', 'PW', 'r.io'], ['docker', 'run', '-p', '80:80', 'img']],
  ['docker login -pPW', ['docker', 'login', '-pPW'], ['docker', 'run', '--name', 'mysql', '-p3306:3306', 'mysql']],
  ['helm registry login', ['helm', 'registry', 'login', 'h', '-p', 'PW'], ['helm', 'install', '-p', 'x']],
  ['sshpass', ['sshpass', '-p', 'PW', 'ssh', '-p', '22', 'h'], ['ssh', '-p', '22', 'h']],
  ['sshpass -pPW', ['sshpass', '-pPW', 'ssh', 'h'], ['sshpass', '-f', 'file', 'ssh', 'h']],
  ['mysql', ['mysql', '-uroot', '-pPW', 'db'], ['mysql', '-uroot', '-p', 'db']],
  ['mysql in a container', ['docker', 'exec', '-it', 'c', 'mysql', '-pPW'], ['docker', 'exec', 'c', 'ls', '-pPW']],
  ['mariadb-dump', ['mariadb-dump', '-pPW', 'db'], ['mkdir', '-p', 'a/b']],
  ['redis-cli', ['redis-cli', '-h', 'h', '-a', 'PW', 'ping'], ['redis-cli', '-p', '6379', 'ping']],
  ['zip -P', ['zip', '-rP', 'PW', 'o.zip', 'd'], ['zip', '-r', 'o.zip', 'd']],
  ['unzip -P', ['unzip', '-P', 'PW', 'o.zip'], ['cp', '-P', 'a', 'b']],
  ['7z -p', ['7z', 'a', '-pPW', 'o.7z', 'd'], ['7z', 'x', '-p', 'o.7z']],
  ['openssl -passin', ['openssl', 'rsa', '-passin', 'pass:PW', '-in', 'k'], ['openssl', 'rsa', '-passin', 'env:P']],
  ['openssl -k', ['openssl', 'enc', '-aes-256-cbc', '-k', 'PW'], ['openssl', 'req', '-keyout', 'k.pem', '-key', 'k']],
  ['vault login', ['vault', 'login', 'PW'], ['vault', 'login', '-method=oidc', 'role=dev']],
  ['gh secret set', ['gh', 'secret', 'set', 'N', '--body', 'PW'], ['gh', 'issue', 'create', '--body', 'a text']],
  ['gh secret set --body=', ['gh', 'secret', 'set', 'N', '--body=PW'], ['gh', 'variable', 'set', 'N', '--body=x']],
  [
    'aws configure',
    ['aws', 'configure', 'set', 'aws_secret_access_key', 'PW'],
    ['aws', 'configure', 'set', 'region', 'eu'],
  ],
  ['npm _authToken', ['npm', 'config', 'set', '//r/:_authToken', 'PW'], ['npm', 'config', 'set', 'registry', 'x']],
  ['npm _auth', ['npm', 'config', 'set', '_auth', 'PW'], ['grep', '-rn', 'api_key', 'src/']],
  ['poetry config', ['poetry', 'config', 'pypi-token.pypi', 'PW'], ['git', 'config', 'credential.helper', 'store']],
  ['kubectl literal', ['kubectl', 'create', 'secret', 'generic', 'n', '--from-literal=a=PW'], ['kubectl', 'get', 'x']],
  ['--token:', ['x', '--token:PW'], ['x', '--token::b', '--keyring', 'k']],
])('%s', (_, given, benign) => {
  const shell = (args: string[]) => args.map((arg) => (/[\s;]/.test(arg) ? `'${arg}'` : arg)).join(' ')
  const taken = given.map((arg) => arg.replace(/PW(=1(; b=2)?)?/, '###'))
  const filled = given.map((arg) => arg.replace('PW', PW))

  it('is taken, as arguments and inside a script', () => {
    expect(redact(...filled)).toEqual(taken)
    expect(redact('sh', '-c', `cd /x && ${shell(filled)} | cat`)).toEqual([
      'sh',
      '-c',
      `cd /x && ${shell(taken)} | cat`,
    ])
    expect(redact('ssh', 'h', `sh -c "${shell(filled)}; true"`)).toEqual(['ssh', 'h', `sh -c "${shell(taken)}; true"`])
  })

  it('takes nothing from its neighbour', () => {
    expect(redact(...benign)).toEqual(benign)
    expect(redact('sh', '-c', `${shell(benign)}; true`)).toEqual(['sh', '-c', `${shell(benign)}; true`])
  })
})

describe.each<[string, string, string]>([
  ['pass', 'DB_PASS=PW', 'FIRST_PASS=12'],
  ['pass alone', 'PASS=PW', 'pass=2'],
  ['pat', 'GH_PAT=PW', 'FILE_PAT=*.c'],
  ['ssh key', 'SSH_KEY=PW', 'KEYBOARD=us'],
  ['storage key', 'AZURE_STORAGE_KEY=PW', 'MONKEY=1'],
  ['account key', 'ACCOUNTKEY=PW', 'PUBLIC_KEY=abc'],
  ['any key of a variable', 'STRIPE_KEY=PW', 'PRIMARY_KEY=id'],
  ['private key', 'private_key=PW', 'public_key=abc'],
  ['foreign key', 'MASTER_KEY=PW', 'CACHE_KEY=v1'],
  ['path', 'STORE_PASS=PW', 'PATH=/bin'],
  ['sort', 'MY_PAT=PW', 'SORT_KEY=name'],
  ['sas', 'https://h/p?sv=1&sig=PW&b=1', 'https://h/p?sort=name&b=1'],
  ['query key', 'https://h/p?key=PW&b=1', 'https://h/p?keyword=abc&b=1'],
  ['signed url', 'https://h/p?a=1&X-Amz-Signature=PW', 'https://h/p?X-Amz-Date=1'],
  ['form', 'https://h/?pass=PW', 'https://h/?page=2'],
])('%s', (_, given, benign) => {
  const filled = given.replace('PW', PW)
  const taken = given.replace('PW', '###')

  it('is taken alone, after env and in a script', () => {
    expect(redact('env', filled, 'ls')).toEqual(['env', taken, 'ls'])
    expect(redact('bash', '-c', `export "${filled}"; ls`)).toEqual(['bash', '-c', `export "${taken}"; ls`])
    expect(redact('bash', '-c', `x ${filled} ls`)[2]).toMatch(/^x .*###/)
  })

  it('takes nothing from its neighbour', () => {
    expect(redact('env', benign, 'ls')).toEqual(['env', benign, 'ls'])
    expect(redact('bash', '-c', `x ${benign}; ls`)).toEqual(['bash', '-c', `x ${benign}; ls`])
  })
})

describe.each<[string, string[], string[], string[]]>([
  [
    'connection string',
    ['x', `Protocol=https;AccountName=n;AccountKey=${PW}==;EndpointSuffix=s`],
    ['x', 'Protocol=https;AccountName=n;AccountKey=###;EndpointSuffix=s'],
    ['x', 'Protocol=https;AccountName=n;KeyName=k'],
  ],
  [
    'environment of python',
    ['python', '-c', `import os;os.environ['OPENAI_API_KEY']='${PW}'`],
    ['python', '-c', `import os;os.environ['OPENAI_API_KEY']='###'`],
    ['python', '-c', `import os;print(os.environ['OPENAI_API_KEY']);x['a']='b'`],
  ],
  [
    'SQL',
    ['psql', '-c', `ALTER USER x WITH PASSWORD '${PW}';`],
    ['psql', '-c', `ALTER USER x WITH PASSWORD '###';`],
    ['sh', '-c', `grep -i password 'my file'; echo alter user`],
  ],
  [
    'SQL of mysql in a script',
    ['sh', '-c', `mysql -e "CREATE USER 'u'@'h' IDENTIFIED BY '${PW}'"`],
    ['sh', '-c', `mysql -e "CREATE USER 'u'@'h' IDENTIFIED BY '###'"`],
    ['sh', '-c', `mysql -e "SELECT password FROM t WHERE a='b'"`],
  ],
  [
    'netrc',
    ['sh', '-c', `printf 'machine h\\nlogin u\\npassword ${PW}\\n' > ~/.netrc`],
    ['sh', '-c', `printf 'machine h\\nlogin u\\npassword ###\\n' > ~/.netrc`],
    ['sh', '-c', 'echo the machine asks for a password prompt'],
  ],
  [
    'token before a host',
    ['git', 'clone', `https://${key40}@github.com/a/b`],
    ['git', 'clone', 'https://###@github.com/a/b'],
    ['git', 'clone', 'https://organisation@dev.azure.com/a', 'ssh://deploy-user-of-production@h/x'],
  ],
  [
    'token with a password that is none',
    ['git', 'clone', `https://${key40}:x-oauth-basic@github.com/a/b`],
    ['git', 'clone', 'https://###:x-oauth-basic@github.com/a/b'],
    ['git', 'clone', 'https://firstname.lastname%40example.com@h/a'],
  ],
  [
    'webhook',
    ['x', `https://hooks.slack.com/services/T0/B0/${key40}`],
    ['x', 'https://hooks.slack.com/services/###'],
    ['x', 'https://hooks.slack.com/services/'],
  ],
  ['hugging face', ['x', `hf_${key40}`], ['x', '###'], ['x', 'hf_hub_download_with_a_long_name_of_a_function']],
  ['stripe', ['x', `sk_live_${key40}`, `rk_test_${key40}`], ['x', '###', '###'], ['x', 'sk_live_', 'pk_live_x']],
  ['sendgrid', ['x', `SG.${key40.slice(0, 22)}.${key40}abc`], ['x', '###'], ['x', 'SG.de']],
  ['digital ocean', ['x', `dop_v1_${'0a1b'.repeat(16)}`], ['x', '###'], ['x', 'dop_v1_readme']],
  [
    'pypi',
    ['x', `pypi-AgEIcHlwaS5vcmc${key40}`],
    ['x', '###'],
    ['x', 'pypi-server-with-some-rather-long-name-of-a-package-x'],
  ],
  ['google', ['x', `ya29.${key40}`], ['x', '###'], ['x', 'ya29.txt']],
  [
    'several lines',
    ['sh', '-c', `curl \\\n  -u "me:${PW}" \\\n  h`],
    ['sh', '-c', 'curl \\\n  -u "me:###" \\\n  h'],
    ['sh', '-c', 'curl -u "me:$PW" -H "x-api-key:$KEY" h; mysql -p"$PW"; redis-cli -a $PW'],
  ],
  [
    'a command in a command',
    ['sh', '-c', `X=$(mysql -p${PW} db) curl $(date) -u me:${PW} h`],
    ['sh', '-c', 'X=$(mysql -p### db) curl $(date) -u me:### h'],
    ['sh', '-c', 'gh secret set A_TOKEN < file; man curl -u x:y'],
  ],
  [
    "a program behind the shell's words",
    ['sh', '-c', `if curl -u me:${PW} h; then :; fi; timeout 5 curl -u me:${PW} h`],
    ['sh', '-c', 'if curl -u me:### h; then :; fi; timeout 5 curl -u me:### h'],
    ['sh', '-c', "don't run mysql -p"],
  ],
  [
    'sed',
    ['sed', '-i', `s/^API_KEY=.*/API_KEY=${PW}/`, '.env'],
    ['sed', '-i', 's/^API_KEY=.*/API_KEY=###/', '.env'],
    ['sed', 's/token=.*/token=X/', 's|password=[^&]*|password=|'],
  ],
  [
    'sed in a script',
    ['sh', '-c', `sed -i 's/token=.*/token=${PW}/' f; TOKEN=${PW} x`],
    ['sh', '-c', `sed -i 's/token=.*/token=###/' f; TOKEN=### x`],
    ['sh', '-c', `sed s/token=.*/token=X/ f; grep 'password=.*' f`],
  ],
  [
    'a prompt',
    ['sh', '-c', `echo "Password: ${PW}"`],
    ['sh', '-c', 'echo "Password: ###"'],
    ['sh', '-c', 'echo "Password: "; read pw'],
  ],
  ['a sort key', ['x', 'sort_key=a', `apikey=${PW}`], ['x', 'sort_key=a', 'apikey=###'], ['x', 'sort', 'key=name']],
])('%s', (_, given, expected, benign) => {
  it('is taken', () => {
    expect(redact(...given)).toEqual(expected)
  })

  it('takes nothing from its neighbour', () => {
    expect(redact(...benign)).toEqual(benign)
  })
})
