/**
 * Files that hold secrets, and the programs for which reading them is what they are for: ssh reads its keys. Guards nothing by itself; that a
 * program is what its name says is programs.ts's.
 */

export interface Secret {
  readonly what: string
  readonly path: RegExp
  /** Those who may, without being told of. */
  readonly owners: readonly string[]
  /** A harness has such ones of its own. */
  readonly ofHarness?: true
}

const CLOUD = ['kubectl', 'helm', 'terraform', 'tofu', 'packer', 'pulumi', 'k9s', 'skaffold']
const NODE = ['npm', 'npx', 'pnpm', 'yarn', 'corepack', 'npm-cli', 'npx-cli', 'pnpm.cjs', 'bun']

export const SECRETS: readonly Secret[] = [
  {
    what: 'an SSH key',
    path: /\/\.ssh\/(?!known_hosts|config$|config\.d\/|authorized_keys|environment$|rc$)(?!.*\.pub$)[^/]+|\/id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?$|^\/etc\/ssh\/ssh_host_\w+_key$/,
    owners: ['ssh', 'ssh-add', 'ssh-keygen', 'ssh-agent', 'scp', 'sftp', 'sshd', 'ssh-copy-id', 'autossh'],
  },
  {
    what: 'a .env file',
    path: /\/\.env(?:\.(?!example|sample|template|dist|defaults?|schema|test|ci|tpl|vault$)[\w.-]+)?$/,
    owners: [],
    ofHarness: true,
  },
  { what: 'credentials of AWS', path: /\/\.aws\/(?:credentials|cli\/cache\/|sso\/cache\/)/, owners: ['aws', ...CLOUD] },
  {
    what: 'credentials of Google Cloud',
    path: /\/(?:\.config\/)?gcloud\/(?:application_default_credentials\.json|credentials\.db|access_tokens\.db|legacy_credentials\/)/,
    owners: ['gcloud', 'gsutil', 'bq', ...CLOUD],
  },
  {
    what: 'credentials of Azure',
    path: /\/\.azure\/(?:msal_token_cache|accessTokens|service_principal)/,
    owners: ['az', ...CLOUD],
  },
  { what: 'credentials of Kubernetes', path: /\/\.kube\/config$|^\/etc\/kubernetes\/admin\.conf$/, owners: CLOUD },
  {
    what: 'a service account token',
    path: /\/run\/secrets\/(?:kubernetes\.io|eks\.amazonaws\.com|azure\/tokens|tokens)\/.*token/,
    owners: CLOUD,
  },
  {
    what: 'a secret of the container',
    path: /^(?:\/var)?\/run\/secrets\/(?!kubernetes\.io|eks\.|azure|tokens|rhsm)[^/]+$/,
    owners: [],
  },
  { what: "a registry's token", path: /\/\.npmrc$|\/\.yarnrc(?:\.yml)?$/, owners: NODE },
  { what: "a registry's token", path: /\/\.pypirc$/, owners: ['twine', 'flit', 'poetry', 'hatch', 'uv'] },
  { what: "a registry's token", path: /\/\.cargo\/credentials(?:\.toml)?$/, owners: ['cargo'] },
  { what: "a registry's token", path: /\/\.gem\/credentials$/, owners: ['gem', 'bundle'] },
  {
    what: "a registry's token",
    path: /\/\.docker\/config\.json$|\/containers\/auth\.json$/,
    owners: ['docker', 'podman', 'buildah', 'skopeo', 'crane', 'docker-buildx', 'docker-compose'],
  },
  {
    what: 'passwords of hosts',
    path: /\/\.netrc$|\/\.git-credentials$|\/git\/credentials$/,
    owners: ['git', 'git-credential-store', 'git-remote-http', 'git-remote-https', 'curl', 'wget', 'ftp'],
  },
  {
    what: 'a token of GitHub',
    path: /\/\.config\/(?:gh|hub|glab-cli)\/?(?:hosts\.yml|config\.yml)?$/,
    owners: ['gh', 'hub', 'glab'],
  },
  {
    what: 'passwords of databases',
    path: /\/\.pgpass$|\/\.my\.cnf$|\/\.mylogin\.cnf$/,
    owners: ['psql', 'pg_dump', 'pg_restore', 'mysql', 'mysqldump'],
  },
  {
    what: 'a token of Vault or Terraform',
    path: /\/\.vault-token$|\/\.terraform\.d\/credentials/,
    owners: ['vault', 'terraform', 'tofu'],
  },
  {
    what: 'keys or passwords',
    path: /\/\.gnupg\/(?:private-keys|secring)|\/\.password-store\/|\/keyrings?\/[^/]+\.keyring$|\.kdbx$/,
    owners: ['gpg', 'gpg-agent', 'gpg2', 'pass'],
  },
  {
    what: "a browser's passwords or cookies",
    path: /\/(?:Login Data|Cookies|logins\.json|key4\.db|cookies\.sqlite)$/,
    owners: ['chrome', 'chromium', 'firefox', 'headless_shell', 'chrome-headless-shell'],
  },
  {
    what: 'password hashes',
    path: /^\/etc\/g?shadow-?$/,
    owners: [
      'su',
      'sudo',
      'login',
      'passwd',
      'unix_chkpwd',
      'sshd',
      'useradd',
      'usermod',
      'groupadd',
      'chpasswd',
      'adduser',
      'chage',
      'newgrp',
      'pwck',
      'systemd-sysusers',
      'groupmod',
      'userdel',
    ],
  },
  {
    what: "an agent's own credentials",
    path: /\/\.claude\/\.credentials\.json$|\/\.codex\/auth\.json$|\/\.gemini\/oauth_creds\.json$|\/opencode\/auth\.json$|\/\.config\/github-copilot\/|\/\.local\/share\/goose\//,
    owners: ['claude', 'codex', 'gemini', 'opencode', 'copilot', 'goose'],
    ofHarness: true,
  },
]

/** Most paths are none: every pattern above needs one of these in the path. */
const HINT =
  /\/\.|secrets|shadow|id_|gcloud|kubernetes|keyring|kdbx|Login Data|ookies|logins\.json|key4\.db|\/ssh\/|git\/cred|containers\/auth|opencode/

export function secretOf(path: string): Secret | null {
  if (!HINT.test(path)) return null
  return SECRETS.find((secret) => secret.path.test(path)) ?? null
}
