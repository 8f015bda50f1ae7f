/** The real grammar, loaded once a test file. */
import { loadBashGrammar } from '../../src/engine/bash-grammar.js'
import { Commands } from '../../src/engine/detect/command.js'
import type { Detector } from '../../src/engine/detect/finding.js'
import { SessionDetection } from '../../src/engine/detect/session-detection.js'

export const syntax = await loadBashGrammar()

export function detectionBy(...detectors: Detector[]): SessionDetection {
  return new SessionDetection({ commands: new Commands(syntax), detectors })
}
