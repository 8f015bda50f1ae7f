/**
 * Services by name, as data: their hosts, with where it is said that they are needed and when that was looked at. It guards that a bundle
 * is no wider than the service: exact names wherever they are known, no place where anybody can leave a file for others (gists, pages,
 * registries), no telemetry. Which hosts a package manager needs is not here: the machine says it (tools.ts).
 */

export interface ServiceHost {
  readonly host: string
  readonly ports?: readonly number[]
}

export interface Service {
  /** Counts up whenever the hosts change. */
  readonly version: number
  /** Day on which the source was looked at. */
  readonly checked: string
  readonly source: string
  readonly hosts: readonly ServiceHost[]
}

const SSH_AND_HTTPS = [22, 443]

export const SERVICES = {
  github: {
    version: 1,
    checked: '2026-11-22',
    source:
      'https://docs.github.com/en/actions/reference/runners/self-hosted-runners and https://api.github.com/meta (domains)',
    hosts: [
      { host: 'github.com', ports: SSH_AND_HTTPS },
      { host: 'ssh.github.com' },
      { host: 'api.github.com' },
      { host: 'codeload.github.com' },
      { host: 'uploads.github.com' },
      { host: 'raw.githubusercontent.com' },
      { host: 'objects.githubusercontent.com' },
      { host: 'release-assets.githubusercontent.com' },
      { host: 'github-cloud.githubusercontent.com' },
      { host: 'github-cloud.s3.amazonaws.com' },
    ],
  },
  gitlab: {
    version: 1,
    checked: '2026-11-22',
    source: 'https://docs.gitlab.com/user/gitlab_com/',
    hosts: [{ host: 'gitlab.com', ports: SSH_AND_HTTPS }, { host: 'altssh.gitlab.com' }],
  },
  claude: {
    version: 1,
    checked: '2026-11-22',
    source: 'https://code.claude.com/docs/en/network-config',
    hosts: [
      { host: 'api.anthropic.com' },
      { host: 'claude.ai' },
      { host: 'claude.com' },
      { host: 'platform.claude.com' },
      { host: 'mcp-proxy.anthropic.com' },
    ],
  },
  openai: {
    version: 1,
    checked: '2026-11-22',
    source: 'https://help.openai.com/en/articles/9247338 (network recommendations)',
    hosts: [{ host: 'api.openai.com' }, { host: 'auth.openai.com' }, { host: 'chatgpt.com' }],
  },
  gemini: {
    version: 1,
    checked: '2026-11-22',
    source: 'https://docs.cloud.google.com/gemini/docs/codeassist/set-up-gemini (firewall)',
    hosts: [
      { host: 'generativelanguage.googleapis.com' },
      { host: 'cloudcode-pa.googleapis.com' },
      { host: 'aiplatform.googleapis.com' },
      { host: 'oauth2.googleapis.com' },
      { host: 'accounts.google.com' },
    ],
  },
} as const satisfies Readonly<Record<string, Service>>

export type ServiceName = keyof typeof SERVICES

export const SERVICE_NAMES = Object.keys(SERVICES) as ServiceName[]
