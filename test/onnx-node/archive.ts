import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseTar } from 'nanotar';

/** Inputs and expected outputs of one run of a model, as the `.pb` files hold them. */
export interface CaseData {
  /** One file per graph input. */
  readonly inputs: readonly Uint8Array[];
  /** One file per graph output. */
  readonly outputs: readonly Uint8Array[];
}

/** One ONNX node test. */
export interface NodeCase {
  /** Name without `test_`. */
  readonly name: string;
  /** The model file. */
  readonly model: Uint8Array;
  /** Its runs. */
  readonly runs: readonly CaseData[];
}

/** Reads the cases of an archive, sorted by name. */
export function readArchive(url: URL): readonly NodeCase[] {
  const folders = new Map<string, Map<string, Uint8Array>>();
  for (const { name, data } of parseTar(gunzipSync(readFileSync(url)))) {
    const match = /(?:^|\/)node\/test_([^/]+)\/(.+\.(?:onnx|pb))$/.exec(name);
    if (match === null || data === undefined) continue;
    const [, folder, file] = match as unknown as [string, string, string];
    const files = folders.get(folder) ?? new Map<string, Uint8Array>();
    // The parser gives views of the whole archive; a copy lets each file start aligned.
    files.set(file, data.slice());
    folders.set(folder, files);
  }
  return [...folders]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([name, files]) => {
      const model = files.get('model.onnx');
      return model === undefined ? [] : [{ name, model, runs: runsOf(files) }];
    });
}

function runsOf(files: ReadonlyMap<string, Uint8Array>): CaseData[] {
  const runs: CaseData[] = [];
  for (let run = 0; files.has(`test_data_set_${run}/output_0.pb`); run++) {
    const listed = (kind: 'input' | 'output'): Uint8Array[] => {
      const found: Uint8Array[] = [];
      for (let index = 0; ; index++) {
        const file = files.get(`test_data_set_${run}/${kind}_${index}.pb`);
        if (file === undefined) return found;
        found.push(file);
      }
    };
    runs.push({ inputs: listed('input'), outputs: listed('output') });
  }
  return runs;
}
