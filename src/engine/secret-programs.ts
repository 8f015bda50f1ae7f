/**
 * Which options of which programs take a secret where nothing but the program tells so: `mysql -pPW`, `curl -u user:PW`. Only data;
 * secret-commands.ts applies it. Long options with a secret's name (`--password`) need no entry. Not here: programs that read
 * secrets from files, the environment or a terminal only.
 */

/**
 * What of an option's value is secret: all of it; what follows the first `:`, `%`, `,` or `=`; what follows `pass:`; all of it, if it
 * is a cookie and not the name of a file; the value of a header with a secret's name.
 */
export type SecretPart = 'all' | ':' | '%' | ',' | '=' | 'pass:' | 'cookie' | 'header'

export interface SecretOption {
  /** As they are typed, split by blanks. */
  readonly flags: string
  readonly part: SecretPart
  /** The value may only be in the same argument: `-pPW`. */
  readonly attached?: true
}

export interface ProgramRule {
  /** Names of files without their folders, split by blanks. */
  readonly programs: string
  /** Only after these words: `docker login -p`. */
  readonly after?: string
  /** Short flags that take no value, so that a secret one may follow them in one argument. */
  readonly switches?: string
  /** Short flags have their value in the next argument and stand alone. */
  readonly apart?: true
  readonly options?: readonly SecretOption[]
  /** The first argument after the words of `after` that is no option. */
  readonly argument?: true
}

const PASSWORD_P: SecretOption = { flags: '-p', part: 'all' }

export const PROGRAM_RULES: readonly ProgramRule[] = [
  {
    programs: 'curl',
    switches: '#0123456afgijklnpqsvGIJLMNORSZ',
    options: [
      { flags: '-u --user -U --proxy-user -E --cert --proxy-cert --tlsuser', part: ':' },
      { flags: '-b --cookie', part: 'cookie' },
      { flags: '-H --header --proxy-header', part: 'header' },
      { flags: '--pass --proxy-pass --oauth2-bearer --tlspassword', part: 'all' },
    ],
  },
  { programs: 'wget', options: [{ flags: '--header', part: 'header' }] },
  { programs: 'http https xh', options: [{ flags: '-a --auth', part: ':' }] },
  {
    programs: 'docker podman nerdctl buildah skopeo helm oras crane az twine',
    after: 'login',
    switches: 'D',
    options: [PASSWORD_P],
  },
  { programs: 'twine', after: 'upload', options: [PASSWORD_P] },
  { programs: 'sshpass', switches: 'ev', options: [PASSWORD_P] },
  {
    programs:
      'mysql mysqladmin mysqldump mysqlimport mysqlshow mysqlcheck mysqlsh mariadb mariadb-admin mariadb-dump mariadb-import',
    options: [{ flags: '-p', part: 'all', attached: true }],
  },
  { programs: 'mongo mongosh mongodump mongorestore mongoexport mongoimport cqlsh', options: [PASSWORD_P] },
  { programs: 'redis-cli valkey-cli', options: [{ flags: '-a --pass', part: 'all' }] },
  { programs: 'sqlcmd bcp', options: [{ flags: '-P', part: 'all' }] },
  {
    programs: 'ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami',
    switches: 'cnvxZ',
    options: [{ flags: '-w', part: 'all' }],
  },
  { programs: 'smbclient rpcclient', switches: 'N', options: [{ flags: '-U --user', part: '%' }] },
  // A flag with a slash stands alone, or has its value behind a colon.
  {
    programs: 'xfreerdp xfreerdp3 wlfreerdp wlfreerdp3 sdl-freerdp sdl-freerdp3',
    options: [{ flags: '/p: /gp: /pth: /password: -p:', part: 'all', attached: true }],
  },
  { programs: 'rdesktop', options: [PASSWORD_P] },
  { programs: 'lftp', options: [{ flags: '-u --user', part: ',' }] },
  { programs: 'zip unzip', switches: '0123456789acdefgjlmnopqrtuvyCDLMRTX', options: [{ flags: '-P', part: 'all' }] },
  { programs: '7z 7za 7zr 7zz', options: [{ flags: '-p', part: 'all', attached: true }] },
  { programs: 'rar unrar', options: [{ flags: '-p -hp', part: 'all', attached: true }] },
  {
    programs: 'openssl',
    apart: true,
    options: [
      { flags: '-passin -passout -pass -srppass', part: 'pass:' },
      { flags: '-k -K -hmac -psk -pwdata', part: 'all' },
    ],
  },
  { programs: 'vault cargo ngrok', after: 'login', argument: true },
  { programs: 'ngrok', after: 'authtoken', argument: true },
  { programs: 'ngrok', after: 'add-authtoken', argument: true },
  { programs: 'snyk', after: 'auth', argument: true },
  { programs: 'doctl', after: 'auth init', options: [{ flags: '-t', part: 'all' }] },
  { programs: 'gh', after: 'secret set', options: [{ flags: '-b --body', part: 'all' }] },
  { programs: 'kubectl oc', after: 'create secret', options: [{ flags: '--from-literal', part: '=' }] },
]

/** They start another program, which is named among their own arguments. The words of the shell do as much. */
export const LAUNCHERS: ReadonlySet<string> = new Set(
  (
    'command doas docker do else env exec flock if ionice kubectl nerdctl nice nohup nsenter oc podman setpriv setsid ssh sshpass ' +
    'stdbuf strace su sudo systemd-run taskset then time timeout torsocks unshare until watch while xargs ! {'
  ).split(' '),
)
/** What follows these names something and starts nothing. */
export const NAMING_FLAGS: ReadonlySet<string> = new Set(
  '--name --hostname -h --net --network --network-alias --label -l --volume -v --workdir -w --user -u'.split(' '),
)
/** Words after which a bare word may be a name and the next one its value: `npm config set NAME VALUE`. */
export const SETTERS: ReadonlySet<string> = new Set(['set', 'config', 'configure', 'setx'])
