/**
 * Files by which others are made to run or to obey what stands in them: an agent's settings, a shell's start, hooks, timers, services, the system's
 * own switches. With the programs that write them as a matter of course. Guards nothing by itself.
 */

export interface Tampering {
  readonly what: string
  readonly path: RegExp
  /** What holds such files, or says where they are: put there whole, it has them changed. */
  readonly place?: RegExp
  readonly owners: readonly string[]
  /** A harness writes its own. */
  readonly ofHarness?: true
}

const PACKAGES = [
  'dpkg',
  'rpm',
  'apk',
  'pacman',
  'systemd-sysusers',
  'adduser',
  'useradd',
  'groupadd',
  'usermod',
  'addgroup',
]

export const TAMPERING: readonly Tampering[] = [
  {
    what: 'a git hook',
    path: /\/\.git\/(?:modules\/.+\/)?hooks\/(?!.*\.sample$)[^/]+$|\/\.husky\/_\//,
    place: /\/\.git\/(?:modules\/.+\/)?hooks$/,
    owners: ['husky', 'lefthook', 'pre-commit'],
  },
  {
    what: "git's settings",
    path: /\/\.git\/config(?:\.worktree)?$|\/\.gitconfig$|\/\.config\/git\/config$|^\/etc\/gitconfig$/,
    place: /\/\.git$/,
    owners: ['git', 'git-lfs', 'gh'],
  },
  {
    what: "an agent's settings",
    path: /\/\.mcp\.json$|\/\.claude(?:\.json$|\/(?:settings[\w.]*\.json$|hooks\/|agents\/|commands\/|skills\/|plugins\/))|\/\.codex\/(?:config\.toml|hooks)|\/\.gemini\/settings\.json$|\/\.cursor\/(?:mcp\.json|rules\/|hooks)|\/\.vscode\/(?:tasks|mcp|settings)\.json$|\/opencode\.jsonc?$|\/\.aider\.conf\.yml$|\/\.config\/(?:goose|opencode|crush)\/|\/\.continue\/config/,
    owners: ['claude', 'codex', 'gemini', 'opencode', 'cursor-agent', 'goose', 'crush'],
    ofHarness: true,
  },
  {
    what: "a shell's start",
    path: /\/\.(?:bashrc|bash_profile|bash_login|bash_logout|bash_aliases|profile|zshrc|zshenv|zprofile|zlogin|kshrc|cshrc|tcshrc|inputrc|envrc|xprofile|xinitrc)$|\/\.config\/(?:fish\/(?:config\.fish|conf\.d\/)|environment\.d\/)|^\/etc\/(?:profile(?:\.d\/|$)|bash\.bashrc|bashrc|zsh\/|environment$)/,
    owners: PACKAGES,
  },
  { what: 'a timer', path: /^\/etc\/(?:cron|anacron)|^\/var\/spool\/(?:cron|at)\//, owners: PACKAGES },
  {
    what: 'a service',
    path: /\/systemd\/(?:system|user)\/[^/]+|^\/etc\/(?:init\.d|rc\.local|xinetd\.d)|\/\.config\/autostart\//,
    owners: [...PACKAGES, 'deb-systemd-helper', 'update-rc.d'],
  },
  {
    what: "sluice's own settings",
    path: /\/\.sluice\.ya?ml$|^\/etc\/sluice\/|\/\.config\/sluice\//,
    owners: ['sluice'],
  },
  {
    what: 'who may log in',
    path: /\/\.ssh\/(?:authorized_keys|config|rc|environment)|^\/etc\/(?:passwd|group|g?shadow|sudoers|pam\.d|security)(?:$|\/|-)|^\/etc\/ssh\//,
    owners: [...PACKAGES, 'passwd', 'chpasswd', 'ssh-keygen', 'groupmod', 'userdel'],
  },
  {
    what: 'what every program loads',
    path: /^\/etc\/ld\.so\.(?:preload|conf)|\/sitecustomize\.py$|\/usercustomize\.py$/,
    owners: [...PACKAGES, 'ldconfig'],
  },
  {
    what: 'where names and packages come from',
    path: /^\/etc\/(?:hosts|resolv\.conf|nsswitch\.conf|pip\.conf|apt\/(?:sources|trusted|apt\.conf))|\/\.npmrc$|\/(?:\.pip|\.config\/pip)\/pip\.conf$|\/\.cargo\/config(?:\.toml)?$|\/\.yarnrc(?:\.yml)?$/,
    owners: [...PACKAGES, 'npm', 'npm-cli', 'yarn', 'pip', 'pip3'],
  },
]

const HINT = /\/\.|^\/etc\/|\/systemd\/|cron|customize\.py|opencode|spool/

/** @param isPut it came there whole: what it has in it is not told one by one */
export function tamperingWith(path: string, isPut = false): Tampering | null {
  if (!HINT.test(path)) return null
  return TAMPERING.find((each) => each.path.test(path) || (isPut && each.place?.test(path))) ?? null
}

/** Settings of git by which it runs something, or goes elsewhere; and a section that gets another name is any of them. */
const GIT_RUNS =
  /^(?:--config=|-c)?(?:alias|filter|include|includeif)\.|\.(?:\w*(?:command|hook|hookspath|proxy|pager|editor|cmd)|helper|fsmonitor|insteadof|pushinsteadof|textconv|external|driver|askpass|difffilter|uploadpack|receivepack|vcs|templatedir|program|sslverify)(?:=|$)|^--?rename-section$/i
const WITH_VALUE: ReadonlySet<string> = new Set(['-c', '-C', '--git-dir', '--work-tree', '--namespace', '--config-env'])

/** Whether git was told to keep such a setting. What stands before its command (`git -c …`) holds for this once. */
export function setsGitToRun(args: readonly string[]): boolean {
  let at = 1
  while (args[at]?.startsWith('-')) at += WITH_VALUE.has(args[at] ?? '') ? 2 : 1
  return args.slice(at).some((argument) => GIT_RUNS.test(argument))
}
