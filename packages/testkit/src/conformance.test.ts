import { referenceBackend } from '@lithe/core/reference';
import { describe, it } from 'vitest';
import { backendConformance } from './backend-conformance.ts';

backendConformance(() => Promise.resolve(referenceBackend()), { describe, it });
