// Refuses a config that has other keys than `types` names, or a value of another type. A key that ends with ? may be missing.
import { SluiceError } from '../../../build/js/base/error.js'

export function requireKeys(types) {
  const optional = (key) => key.endsWith('?')
  return (raw) => {
    const keys = Object.keys(raw).sort()
    const wanted = Object.keys(types).filter((key) => !optional(key) || key.slice(0, -1) in raw)
    const names = wanted.map((key) => key.replace(/\?$/, '')).sort()
    if (keys.join() !== names.join()) throw new SluiceError('PROTOCOL', `config has the keys ${keys}, not ${names}`)
    for (const key of wanted) {
      const value = raw[key.replace(/\?$/, '')]
      if (!types[key].split('|').includes(typeof value)) throw new SluiceError('PROTOCOL', `${key} is no ${types[key]}`)
    }
    return raw
  }
}
