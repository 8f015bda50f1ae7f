/**
 * Sockets of services that do work for whoever asks, outside of the sandbox and with rights of their own: identity ends there. Guards nothing
 * by itself: it knows the usual places, and a policy that allows one of them has to say that it means it.
 */

const BROKERS: readonly [pattern: RegExp, what: string][] = [
  [/^(\/var)?\/run\/(user\/\d+\/)?(docker|podman\/podman|buildkit\/buildkitd)\.sock$/, 'a container engine'],
  [/^(\/var)?\/run\/(k3s\/)?containerd\/.*containerd\.sock/, 'a container engine'],
  [/^(\/var)?\/run\/(crio\/crio|cri-dockerd)\.sock$/, 'a container engine'],
  [/\/(docker|podman|containerd|crio|buildkitd|lxd?\/unix|incus\/unix)\.sock(et)?$/, 'a container engine'],
  [/^(\/var)?\/run\/(dbus\/system_bus_socket|user\/\d+\/bus)$/, 'D-Bus'],
  [/^(\/var)?\/run\/(systemd\/(private|io\.systemd|journal|userdb)|user\/\d+\/systemd)(\/|\.|$)/, 'systemd'],
  [/\/(ssh-[^/]+\/agent\.[^/]+|ssh-agent(\.sock(et)?)?|keyring\/ssh)$/, 'ssh-agent'],
  [/\/S\.(gpg-agent|dirmngr|scdaemon|keyboxd)[^/]*$/, 'gpg-agent'],
  [/^\/(var\/)?tmp\/tmux-\d+\//, 'tmux'],
  [/\/screen(s|-[^/]*)?\/S-[^/]+(\/|$)/, 'screen'],
  [/^(\/var)?\/run\/(snapd[^/]*|libvirt\/.*|nscd\/socket|cups\/cups\.sock|acpid\.socket)$/, 'a system service'],
  [/^\/tmp\/\.X11-unix\/|\/wayland-\d+$/, 'the screen'],
  [/^(\/var)?\/run\/sluice\//, 'sluice'],
]

/** What listens there; null for what is not known to be a broker. */
export function brokerOf(path: string): string | null {
  return BROKERS.find(([pattern]) => pattern.test(path))?.[1] ?? null
}
