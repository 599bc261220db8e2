import { readFileSync } from 'node:fs';

/** What is known of the processor that models are measured on. */
export interface Machine {
  /** Architecture: `x64`, `arm64`… */
  readonly architecture: string;
  /** Channels that one block of onnxruntime's convolutions holds; counts between multiples cost as much as the next. */
  readonly convolutionBlock: number;
}

/** Looks at the processor. */
export function machine(): Machine {
  const { arch } = process;
  if (arch !== 'x64') return { architecture: arch, convolutionBlock: arch === 'arm64' ? 16 : 1 };
  return { architecture: arch, convolutionBlock: hasAvx512() ? 16 : 8 };
}

/** Only Linux tells; elsewhere the wider registers are not assumed. */
function hasAvx512(): boolean {
  if (process.platform !== 'linux') return false;
  try {
    return /^flags\s*:.*\bavx512f\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch (error) {
    if ((error as { code?: unknown }).code === undefined) throw error;
    return false;
  }
}
