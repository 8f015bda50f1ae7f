export function compiledC(name: string): string
export function compiledBpf(name: string): string
export function compileAll(): void
