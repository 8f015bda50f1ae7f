// A supervisor for the test that kills one: starts the fixture role with the config given as JSON, prints the role's pid, stays.
import { startRole } from '../../../build/js/supervise/role.js'

const main = new URL('./role.mjs', import.meta.url)
const role = await startRole({ name: 'engine', main, config: JSON.parse(process.argv[2]), readyDeadlineMs: 5_000 })
console.log(role.pid)
