import { type Backend, type Dataset, type Executable, type Feeds, Tensor } from '@lithe/core';
import type { Mail } from './mails.ts';
import type { SentenceEncoder } from './minilm.ts';

/** Tokens of a text, as the encoder reads them. */
export function feedsOf(ids: readonly number[]): Feeds {
  const row = (values: readonly number[]): Tensor =>
    Tensor.from('int64', [1, ids.length], BigInt64Array.from(values, BigInt));
  return {
    input_ids: row(ids),
    attention_mask: row(ids.map(() => 1)),
    token_type_ids: row(ids.map(() => 0)),
  };
}

/** Bodies of mails as a dataset, one a batch, so that none is padded. */
export function mailDataset(mails: readonly Mail[], encoder: SentenceEncoder, tokens: number): Dataset {
  return {
    size: mails.length,
    description: `${mails.length} e-mails`,
    async *batches(options = {}) {
      for (const { body } of mails.slice(0, options.limit ?? mails.length))
        yield { inputs: feedsOf(encoder.tokenizer.encode(body, tokens)), size: 1 };
    },
  };
}

/** Mean of the tokens' vectors, of length 1. */
async function embed(executable: Executable, ids: readonly number[]): Promise<Float32Array> {
  const output = Object.values(await executable.run(feedsOf(ids), { outputs: ['last_hidden_state'] }))[0];
  const data = (output as Tensor<'float32'>).data;
  const width = data.length / ids.length;
  const mean = new Float32Array(width);
  for (let at = 0; at < data.length; at++) mean[at % width]! += data[at]!;
  const norm = Math.hypot(...mean);
  return mean.map((value) => value / norm);
}

/** What an encoder makes of mails. */
export interface Embeddings {
  /** Of subjects, by mail. */
  readonly subjects: readonly Float32Array[];
  /** Of bodies, by mail. */
  readonly bodies: readonly Float32Array[];
  /** Time it took. */
  readonly seconds: number;
}

/** Embeds subjects and bodies. */
export async function embedMails(
  file: Uint8Array,
  mails: readonly Mail[],
  run: { readonly backend: Backend; readonly encoder: SentenceEncoder; readonly tokens: number },
): Promise<Embeddings> {
  const { backend, encoder, tokens } = run;
  const executable = await backend.compile({ kind: 'onnx', file });
  try {
    const start = performance.now();
    const subjects: Float32Array[] = [];
    const bodies: Float32Array[] = [];
    for (const { subject, body } of mails) {
      subjects.push(await embed(executable, encoder.tokenizer.encode(subject, tokens)));
      bodies.push(await embed(executable, encoder.tokenizer.encode(body, tokens)));
    }
    return { subjects, bodies, seconds: (performance.now() - start) / 1000 };
  } finally {
    await executable.dispose();
  }
}

function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < left.length; at++) sum += left[at]! * right[at]!;
  return sum;
}

/** For each subject, which body is nearest. */
export function nearestBodies({ subjects, bodies }: Embeddings): Int32Array {
  return Int32Array.from(subjects, (subject) => {
    let best = 0;
    let most = Number.NEGATIVE_INFINITY;
    for (const [index, body] of bodies.entries()) {
      const similarity = dot(subject, body);
      if (similarity > most) {
        most = similarity;
        best = index;
      }
    }
    return best;
  });
}

/** Mean cosine between the embeddings of two encoders. */
export function meanCosine(left: Embeddings, right: Embeddings): number {
  const all = [...left.subjects, ...left.bodies];
  const other = [...right.subjects, ...right.bodies];
  let sum = 0;
  for (const [index, vector] of all.entries()) sum += dot(vector, other[index] as Float32Array);
  return sum / all.length;
}

/** A linear classifier, bias last. */
export type Probe = Float64Array;

/** Logistic regression by gradient descent with a little weight decay. */
export function trainProbe(vectors: readonly Float32Array[], labels: readonly boolean[]): Probe {
  const width = (vectors[0] as Float32Array).length;
  const probe = new Float64Array(width + 1);
  const gradient = new Float64Array(width + 1);
  for (let step = 0; step < 400; step++) {
    gradient.fill(0);
    for (const [index, vector] of vectors.entries()) {
      const wrong = 1 / (1 + Math.exp(-scoreOf(probe, vector))) - (labels[index] === true ? 1 : 0);
      for (let at = 0; at < width; at++) gradient[at]! += wrong * vector[at]!;
      gradient[width]! += wrong;
    }
    for (let at = 0; at <= width; at++)
      probe[at]! -= 8 * (gradient[at]! / vectors.length + 1e-4 * probe[at]!);
  }
  return probe;
}

function scoreOf(probe: Probe, vector: Float32Array): number {
  let score = probe[vector.length]!;
  for (let at = 0; at < vector.length; at++) score += probe[at]! * vector[at]!;
  return score;
}

/** Share of vectors that a probe tells right. */
export function probeAccuracy(
  probe: Probe,
  vectors: readonly Float32Array[],
  labels: readonly boolean[],
): number {
  let right = 0;
  for (const [index, vector] of vectors.entries()) if (scoreOf(probe, vector) > 0 === labels[index]) right++;
  return right / vectors.length;
}
