/** Bundles of package managers. Their hosts are what the tool's own configuration on this machine says (tools.ts). */
export const TOOL_NAMES = ['node', 'python', 'debian', 'rust', 'go'] as const

export type ToolName = (typeof TOOL_NAMES)[number]
