/** What package.json and package-lock.json promise: exact versions, a lock that fits, no registry of anybody's. */

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

interface LockedPackage extends Manifest {
  readonly version?: string
  readonly resolved?: string
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

interface Lock {
  readonly packages: Readonly<Record<string, LockedPackage>>
}

export function checkPins(manifest: Manifest): string[] {
  return Object.entries(wanted(manifest))
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `package.json: ${name} "${version}": pin the exact version`)
}

export function checkLock(manifest: Manifest, lock: Lock): string[] {
  const unfitting = Object.entries(wanted(manifest))
    .filter(([name, version]) => lock.packages[`node_modules/${name}`]?.version !== version)
    .map(([name, version]) => `package-lock.json: ${name} is not locked at ${version}: run npm install`)
  const hosted = Object.entries(lock.packages)
    .filter(([, entry]) => /^\w+:\/\//.test(entry.resolved ?? ''))
    .map(
      ([path]) =>
        `package-lock.json: ${path} names the registry it came from: npm config set omit-lockfile-registry-resolved true`,
    )
  // npm writes no entry for another platform's package that its registry doesn't serve, and `npm ci` then refuses the lock.
  const unlocked = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !Object.keys(lock.packages).some((other) => other.endsWith(`node_modules/${name}`)))
      .map((name) => `package-lock.json: ${name}, optional for ${path}, has no entry: npm ci refuses the lock`),
  )
  return [...unfitting, ...hosted, ...unlocked]
}

function wanted(manifest: Manifest): Record<string, string> {
  return { ...manifest.dependencies, ...manifest.devDependencies }
}
